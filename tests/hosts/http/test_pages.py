"""Pages beside the protocol: what the host's owner says, for whom it says it; and every answer is counted."""

import json
from typing import Any

ROUTES = {"/readyz": lambda caller: (503, "application/json", json.dumps({"caller": caller}).encode())}


def test_a_page_is_what_its_owner_says_for_this_caller(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(kit.Toy(), pages=ROUTES) as host:
            status, _, body = await kit.raw(host.port, kit.request(b"", path="/readyz", method="GET"))
            assert (status, json.loads(body)) == (503, {"caller": "127.0.0.1"})
            assert (await kit.raw(host.port, kit.request(b"", path="/readyz")))[0] == 405
            assert (await kit.raw(host.port, kit.request(b"", path="/metrics", method="GET")))[0] == 404
            assert host.answered_with == {("/readyz", 503): 1, ("/readyz", 405): 1, ("other", 404): 1}

    kit.play(main)
