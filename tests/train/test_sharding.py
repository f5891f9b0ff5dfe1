"""Sharing out weights in a group of one process: what each kind of model makes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed

from audiomamba import models
from audiomamba.train.fitting.activations import checkpoint_blocks
from audiomamba.train.fitting.full_state import full_model, full_tensor
from audiomamba.train.fitting.sharding import shard

SMALL = {
    "aum_tiny": {"dim": 16, "depth": 2},
    "ast_tiny": {"dim": 24, "depth": 2},
    "audiomamba_nano": {},
    "conv_aum_tiny": {"stem": (8, 8, 8), "dim": 16, "depth": 2},
    "htsat_tiny": {"dim": 32, "n_heads": (2, 4, 8, 16)},
    "mambaout_femto": {},
    "vim_tiny": {"n_channels": 1, "depth": 2},
}


@pytest.fixture(scope="module", autouse=True)
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A group of this process alone."""
    store = distributed.FileStore(str(Path(tmp_path_factory.mktemp("group")) / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


# nothing changes in place what a block returns
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view")
@pytest.mark.parametrize("name", SMALL)
def test_a_model_with_shared_out_weights_computes_the_same(name):
    def make() -> models.AudioModel:
        torch.manual_seed(0)
        model = models.create(name, **SMALL[name], n_classes=3, n_mels=64, n_frames=256)
        checkpoint_blocks(model)
        return model.eval()

    plain, parts = make(), make()
    shard(parts, "cpu")
    features = torch.randn(2, 256, 64, generator=torch.Generator().manual_seed(1))
    for model in (plain, parts):
        model(features).square().sum().backward()
    for (own, weight), (_, other) in zip(
        plain.named_parameters(), parts.named_parameters(), strict=True
    ):
        assert hasattr(other, "full_tensor"), own
        torch.testing.assert_close(full_tensor(other.grad), weight.grad, atol=1e-4, rtol=1e-3)
    copy = full_model(parts)
    assert type(copy) is type(plain)
    assert copy.state_dict().keys() == plain.state_dict().keys()
    with torch.inference_mode():
        torch.testing.assert_close(copy(features), plain(features))
    assert full_model(plain) is plain
