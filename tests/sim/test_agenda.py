"""Virtual time: order, cancelling, and no memory of what was cancelled."""

from hypothesis import given
from hypothesis import strategies as st

from p2pfl.hosts.agenda import Agenda


def drain(agenda):
    while agenda.next_time() is not None:
        agenda.step()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())))
def test_calls_happen_in_order_of_time_then_of_entry_unless_cancelled(plan):
    agenda, happened = Agenda(), []
    tickets = [agenda.at(time, happened.append, (time, index)) for index, (time, _) in enumerate(plan)]
    for ticket, (_, is_cancelled) in zip(tickets, plan, strict=True):
        if is_cancelled:
            agenda.cancel(ticket)
            agenda.cancel(ticket)
    kept = sorted((time, index) for index, (time, is_cancelled) in enumerate(plan) if not is_cancelled)
    assert len(agenda) == len(kept)
    drain(agenda)
    assert happened == kept
    assert len(agenda) == 0


def test_a_call_may_enter_calls_and_the_past_means_now():
    agenda, times = Agenda(), []
    agenda.at(2.0, lambda: agenda.at(1.0, lambda: times.append(agenda.now)))
    drain(agenda)
    assert times == [2.0]


def test_cancelled_calls_move_no_clock():
    agenda = Agenda()
    ticket = agenda.at(9.0, lambda: None)
    agenda.at(1.0, lambda: agenda.cancel(ticket))
    drain(agenda)
    assert agenda.now == 1.0


def test_a_timer_that_is_set_again_and_again_leaves_no_litter():
    agenda = Agenda()
    ticket = agenda.at(1e9, lambda: None)
    for step in range(10_000):
        agenda.cancel(ticket)
        ticket = agenda.at(1e9 + step, lambda: None)
        assert len(agenda._heap) < 200
    assert len(agenda) == 1


def test_cancelling_what_has_happened_is_harmless():
    agenda = Agenda()
    ticket = agenda.at(0.0, lambda: None)
    drain(agenda)
    agenda.cancel(ticket)
    assert len(agenda) == 0
