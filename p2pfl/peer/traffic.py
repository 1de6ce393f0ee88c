"""Bytes on the wire as one node sent and got them. Counts; knows no message."""

from dataclasses import dataclass

from p2pfl.core.party import Parts


@dataclass(eq=False)
class Traffic:
    """HTTP headers are counted at their usual length."""

    sent: int = 0
    received: int = 0
    bodies_sent: int = 0
    body_bytes_sent: int = 0

    def out(self, parts: Parts, overhead: int) -> None:
        sizes = [memoryview(part).nbytes for part in parts]
        self.sent += sum(sizes) + overhead
        if len(sizes) > 1:
            self.bodies_sent += 1
            self.body_bytes_sent += sum(sizes[1:])

    def fields(self) -> dict[str, int]:
        """For the reports of rounds."""
        return {
            "bytes_sent": self.sent,
            "bytes_received": self.received,
            "bodies_sent": self.bodies_sent,
            "body_bytes_sent": self.body_bytes_sent,
        }
