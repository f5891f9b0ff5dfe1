"""UPerNet's head, and segmenters as wholes."""

import pytest
import torch

from audiomamba.errors import ConfigError
from audiomamba.models import MambaOutConfig, VimConfig
from audiomamba.vision import SegmenterConfig
from audiomamba.vision.heads.upernet import FCNHead, UPerHead

SMALL = MambaOutConfig(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), n_channels=3)


def small_segmenter(**changes: object) -> SegmenterConfig:
    return SegmenterConfig(model=SMALL, dim=16, aux_dim=8, n_classes=5).changed(**changes)


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    """The model with batch norms that have seen something."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def test_the_head_is_that_of_transformers() -> None:
    upernet = pytest.importorskip("transformers.models.upernet.modeling_upernet")
    transformers = pytest.importorskip("transformers")
    dims = (8, 16, 24, 32)
    config = transformers.UperNetConfig(
        backbone_config=transformers.ConvNextConfig(out_features=["stage1"]),
        hidden_size=12,
        auxiliary_channels=10,
        auxiliary_in_channels=24,
        num_labels=7,
    )
    torch.manual_seed(0)
    ours = randomized(UPerHead(dims, 12, 7))
    theirs = upernet.UperNetHead(config, dims).eval()
    theirs.load_state_dict(_named_as_theirs(ours))
    maps = [torch.randn(2, dim, 24 // 2**i, 20 // 2**i) for i, dim in enumerate(dims)]
    with torch.inference_mode():
        assert torch.allclose(ours(maps), theirs(maps), atol=1e-5)
    aux = randomized(FCNHead(24, 10, 7))
    their_aux = upernet.UperNetFCNHead(config, 24).eval()
    their_aux.load_state_dict(
        dict(zip(their_aux.state_dict(), aux.state_dict().values(), strict=True))
    )
    with torch.inference_mode():
        assert torch.allclose(aux(maps[2]), their_aux(maps), atol=1e-5)


def _named_as_theirs(head: torch.nn.Module) -> dict[str, torch.Tensor]:
    prefixes = {
        "pooled": "psp_modules",
        "coarsest": "bottleneck",
        "lateral": "lateral_convs",
        "smooth": "fpn_convs",
        "join": "fpn_bottleneck",
        "classify": "classifier",
    }
    out = {}
    for name, value in head.state_dict().items():
        first, *rest = name.split(".")
        if first == "pooled":
            rest.insert(1, "1")  # theirs pools within the module
        if first != "classify":
            rest[-2] = "conv" if rest[-2] == "0" else "batch_norm"
        out[".".join([prefixes[first], *rest])] = value
    return out


def test_a_batch_is_its_images_one_by_one() -> None:
    model = randomized(small_segmenter().build())
    images = torch.randn(3, 3, 64, 96)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (70, 90), (33, 47)])
def test_the_result_has_the_size_of_the_image(size: tuple[int, int]) -> None:
    model = small_segmenter().build().eval()
    assert model(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


def test_one_window_that_covers_the_image_is_the_image() -> None:
    model = randomized(small_segmenter().build())
    image = torch.randn(3, 64, 64)
    whole = model(image[None])[0]
    assert torch.allclose(model.slide(image, window=64, stride=43), whole, atol=1e-5)


def test_windows_that_overlap_are_averaged() -> None:
    model = randomized(small_segmenter().build())
    image = torch.randn(3, 64, 96)
    with torch.inference_mode():
        left, right = model(image[None, :, :, :64])[0], model(image[None, :, :, 32:])[0]
    found = model.slide(image, window=64, stride=32)
    assert torch.allclose(found[:, :, :32], left[:, :, :32], atol=1e-5)
    assert torch.allclose(found[:, :, 32:64], (left[:, :, 32:] + right[:, :, :32]) / 2, atol=1e-5)
    assert torch.allclose(found[:, :, 64:], right[:, :, 32:], atol=1e-5)


def test_ignored_pixels_teach_nothing() -> None:
    model = small_segmenter().build()
    loss = model.loss(torch.randn(2, 3, 64, 64), torch.full((2, 64, 64), 255))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_every_weight_learns() -> None:
    model = small_segmenter().build()
    model.loss(torch.randn(2, 3, 64, 64), torch.randint(5, (2, 64, 64))).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert idle == []


@pytest.mark.parametrize("feature", ["stream", "branch"])
@pytest.mark.parametrize("class_token", ["none", "middle"])
def test_blocks_of_a_vim_are_read_as_maps(feature: str, class_token: str) -> None:
    vim = VimConfig(dim=16, depth=4, n_mels=64, n_frames=96, class_token=class_token)
    config = small_segmenter(model=vim, blocks=(1, 2, 3, 4), feature=feature)
    model = config.build()
    assert model.eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 64, 96)
    model.train().loss(torch.randn(2, 3, 64, 96), torch.randint(5, (2, 64, 96))).backward()
    learnt = {name for name, p in model.named_parameters() if p.grad is not None}
    assert {"backbone.model.layers.0.mixer.in_proj.weight", "backbone.model.pos_embed"} <= learnt


def test_a_map_of_a_vim_lies_as_the_image_does() -> None:
    vim = VimConfig(dim=16, depth=1, n_mels=64, n_frames=96, class_token="middle", positions="none")
    backbone = small_segmenter(model=vim, blocks=(1, 1, 1, 1)).build().eval().backbone
    torch.nn.init.ones_(backbone.model.patch_embed.proj.weight)
    for weight in backbone.model.layers.parameters():
        torch.nn.init.zeros_(weight)  # what is left is the stream: the patches' sums
    image = torch.zeros(1, 3, 64, 96)
    image[0, :, 16:32, 48:64] = 1  # patch (1, 3)
    with torch.inference_mode():
        [first, *_] = backbone(image)
    assert first[0, 0].nonzero().tolist() == [[1, 3]]


def test_sound_is_segmented_in_frequency_and_time() -> None:
    config = small_segmenter(model=SMALL.changed(n_channels=1, n_mels=64))
    assert config.build().eval()(torch.zeros(2, 100, 64)).shape == (2, 5, 64, 100)


def test_blocks_that_are_not_there_are_refused() -> None:
    vim = VimConfig(dim=16, depth=4, n_mels=64, n_frames=64)
    with pytest.raises(ConfigError, match=r"blocks are \(1, 2, 3, 5\); the model has 1 to 4"):
        small_segmenter(model=vim, blocks=(1, 2, 3, 5)).build()
    with pytest.raises(ConfigError, match="mambaout has no blocks to choose from"):
        small_segmenter(blocks=(1, 2, 3, 4)).build()
    with pytest.raises(ConfigError, match="vim has no stages"):
        small_segmenter(model=vim).build()
