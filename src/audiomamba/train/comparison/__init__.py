"""Many runs side by side: the folds of a cross-validation, the cells of an ablation table."""

__all__: list[str] = []
