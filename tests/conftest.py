"""What holds for the whole test run."""

import os

import torch

# Triton looks at this once, when it is imported. Without a GPU its kernels are interpreted.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
