"""Push-pulls as they go back and forth, and whether this node has joined. Asks and answers; keeps no time.

    Sync(digest)          -> Synced(same)                                        done
                          -> Synced(not same), then for each part
    Sync(rows of a part)  -> Synced(wants, more) with what I lack, Tell what was wanted; the next part

A node has joined when another one has said that both know the same, or when all parts were exchanged.
"""

from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.core.party import ReplyToken
from p2pfl.membership import compare
from p2pfl.membership.bounds import NEWS_BYTES
from p2pfl.membership.effects import Asked
from p2pfl.membership.talk import Sync, Synced, Tell
from p2pfl.membership.voice import Voice

AGAIN_MAX = 32
"""How often one part is asked for in a row, when an answer could not hold all of it."""


@dataclass(eq=False)
class Syncer:
    voice: Voice
    joined: bool = False

    @property
    def _within_s(self) -> float:
        return 5 * self.voice.pace.probe_s

    def begin(self, to: NodeId, part: int | None = None, again: int = 0) -> None:
        self.voice.ask(to, compare.question(self.voice.roster, part), "sync", self._within_s, about=again)

    def asked(self, token: ReplyToken, sender: NodeId, digest: bytes, sync: Sync) -> None:
        words, news = compare.answer(self.voice.roster, sync)
        self.voice.answer(token, sender, digest, words, news)

    def answered(self, asked: Asked, synced: Synced) -> bool:
        """Goes on with what is left to exchange. Whether this node has joined by it."""
        question = asked.words
        assert isinstance(question, Sync)
        if synced.wants:
            self.tell(asked.to, compare.told(self.voice.roster, synced.wants))
        again: int = asked.about
        if synced.more and again < AGAIN_MAX:
            self.begin(asked.to, question.part, again + 1)
            return False
        last = question.parts and question.part + 1 >= compare.num_parts(self.voice.roster)
        if not synced.same and not last:
            self.begin(asked.to, question.part + 1 if question.parts else 0)
            return False
        before, self.joined = self.joined, True
        return not before

    def tell(self, to: NodeId, news: list[bytes]) -> None:
        """In as many messages as it takes."""
        while news:
            room, count = NEWS_BYTES * 8, 0
            while count < len(news) and (room := room - len(news[count])) >= 0:
                count += 1
            count = max(count, 1)
            self.voice.ask(to, Tell(), "tell", self._within_s, first=news[:count])
            news = news[count:]
