"""What is on the shelves, and what is missing for a recipe."""

from collections import Counter


class Pantry:
    """Counts of goods by name."""

    def __init__(self) -> None:
        self._goods: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        """Puts `count` pieces on the shelf."""
        if count < 1:
            raise ValueError(f"cannot add {count} of {name}")
        self._goods[name] += count

    def take(self, name: str, count: int = 1) -> None:
        """Takes `count` pieces from the shelf, or none at all."""
        if self._goods[name] < count:
            raise LookupError(f"{self._goods[name]} of {name} left, {count} wanted")
        self._goods[name] -= count

    def missing(self, recipe: dict[str, int]) -> dict[str, int]:
        """What must be bought before the recipe can be cooked."""
        return {
            name: wanted - self._goods[name]
            for name, wanted in recipe.items()
            if wanted > self._goods[name]
        }
