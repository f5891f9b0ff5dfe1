"""How models of images learn: recipes, optimizers, augmentation, and the loop."""

__all__: list[str] = []
