"""Points of a curve as they come, so many at most. Knows numbers only.

When a track is full every other point goes, so a long run is drawn as well as a short one, and its end stays as it is.
"""

from collections.abc import Sequence
from typing import Any

POINTS_MAX = 400
POINTS_MIN = 40
POINTS_OF_ALL = 60_000
"""Of all nodes together: what a page is sent when it opens."""
ROUND = 1
"""The place of the round in a point."""

Point = Sequence[Any]


def points_for(num_nodes: int) -> int:
    """How many points each of so many nodes may have."""
    return max(POINTS_MIN, min(POINTS_MAX, POINTS_OF_ALL // max(num_nodes, 1)))


class Track:
    """One node's curve. Two points of one round are one: the later one."""

    __slots__ = ("_points", "_versions", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._points: list[Point] = []
        self._versions: list[int] = []

    def add(self, point: Point, version: int, limit: int) -> None:
        assert len(point) == self.size
        if self._points and self._points[-1][ROUND] == point[ROUND]:
            self._points[-1], self._versions[-1] = point, version
            return
        self._points.append(point)
        self._versions.append(version)
        if len(self._points) > limit:
            self._points = [*self._points[:-1:2], self._points[-1]]
            self._versions = [*self._versions[:-1:2], self._versions[-1]]

    def since(self, version: int) -> list[Point]:
        """The points that are newer than this version."""
        return [point for point, at in zip(self._points, self._versions, strict=True) if at > version]

    def __len__(self) -> int:
        return len(self._points)
