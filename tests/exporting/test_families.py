"""Every family exports, and its graph says what the model says."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from exporting_models import RECORDINGS

import audiomamba
from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.checkpoints.from_efficientat import FRONT_END as EFFICIENTAT
from audiomamba.checkpoints.from_panns import FRONT_END as PANNS
from audiomamba.errors import ConfigError
from audiomamba.exporting import Exported
from audiomamba.infer import SoundModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FRONT_ENDS = {
    "general": EFFICIENTAT,
    "conv_aum_tiny": FrontEnd(),
    "aum_small": FrontEnd(),
    "audiomamba_nano": FrontEnd(),
    "mambaout_femto": FrontEnd(),
    "mn04_as": EFFICIENTAT,
    "ast_tiny": FrontEnd(),
    "cnn14": PANNS,
    "htsat_tiny": PANNS,
    "dass_small": FrontEnd(),
    "mobile_aum_small": EFFICIENTAT,
}
IMAGES = ("vim_tiny", "mambaout_femto_224", "deit_tiny", "vmamba_tiny_s1l8")


def checkpoint_of(name: str, front_end: FrontEnd | None) -> Checkpoint:
    """One that ships, or a model with fresh weights whose scores differ from class to class."""
    if name == "general":
        return checkpoints.load(checkpoints.find(name))
    torch.manual_seed(0)
    config = models.MODELS[name].changed(n_classes=50)
    model = config.build().eval()
    for weight in (
        module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)
    ):
        if weight.shape[0] == 50:
            torch.nn.init.normal_(weight, std=0.2)
    _measure_norms(model, (2, 3, 224, 224) if front_end is None else (2, 300, config.n_mels))
    if front_end is not None:
        front_end = replace(front_end, n_frames=config.n_frames, n_mels=config.n_mels)
    labels = tuple(f"kind {index}" for index in range(50))
    return Checkpoint(name=name, model=model, front_end=front_end, labels=labels, scores="sigmoid")


def _measure_norms(model: torch.nn.Module, shape: tuple[int, ...]) -> None:
    """Give batch norms the statistics of noise: with fresh ones little of the input is left."""
    norms = [it for it in model.modules() if isinstance(it, torch.nn.modules.batchnorm._BatchNorm)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            model.train()(torch.randn(shape))
        model.eval()


def check_graph(folder: Path, model: torch.nn.Module) -> None:
    """Standard operators only, and no constant that is larger than a weight or a front end's."""
    graph = onnx.load(folder / "model.onnx")
    assert {one.domain for one in graph.opset_import} == {""}
    nodes, sizes = list(graph.graph.node), [math.prod(one.dims) for one in graph.graph.initializer]
    for node in nodes:  # grows by the nodes of loops
        assert not node.domain
        for attribute in node.attribute:
            nodes += attribute.g.node
            sizes += [math.prod(one.dims) for one in attribute.g.initializer]
            sizes.append(math.prod(attribute.t.dims))
    weights = [weight.numel() for weight in model.state_dict().values()]
    assert max(sizes) <= max(*weights, 512 * 513)  # a table of a Fourier transform


def scores(folder: Path, given: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    name = session.get_inputs()[0].name
    return torch.from_numpy(session.run(["scores"], {name: given.numpy()})[0])


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_model_of_sound(name: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(name, FRONT_ENDS[name])
    done = audiomamba.export(checkpoint, tmp_path / name)
    sound_model = SoundModel(checkpoint)
    free = checkpoint.model.config.any_length
    clip_s = sound_model.front_end.clip_s
    report(name, done)
    check_graph(done.folder, checkpoint.model)

    sound = sound_model.read(RECORDINGS / "speech.wav").repeat(80)
    for seconds in (0.3, 5.0, 60.0 if free else clip_s):
        for n in (1, 3):
            n_samples = min(int(seconds * sound_model.front_end.sample_rate), len(sound) // n)
            waveforms = sound[: n * n_samples].reshape(n, n_samples)
            with torch.inference_mode():
                features = torch.cat([sound_model.one_pass_inputs(one) for one in waveforms])
                wanted = sound_model.score_features(features)
            found = scores(done.folder, waveforms)
            assert wanted.std() > 0.01
            assert (found - wanted).abs().max() <= 1e-5, (seconds, n)
    if not free:
        with pytest.raises(ConfigError, match="reads a fixed number of frames"):
            audiomamba.export(checkpoint, tmp_path / "other", length="any")
        with pytest.raises(Exception, match=f"sound_is_longer_than_{clip_s:.4g}_s"):
            scores(
                done.folder, sound[None, : int(1.5 * clip_s * sound_model.front_end.sample_rate)]
            )


@pytest.mark.parametrize("name", IMAGES)
def test_a_model_of_images(name: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(name, None)
    done = audiomamba.export(checkpoint, tmp_path / name)
    report(name, done)
    check_graph(done.folder, checkpoint.model)

    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        wanted = checkpoint.model(images).sigmoid()
    assert (scores(done.folder, images) - wanted).abs().max() <= 1e-5
    assert not (done.folder / "tag.py").exists()
    with pytest.raises(ConfigError, match="reads images"):
        audiomamba.export(checkpoint, tmp_path / "other", length=5)


def report(name: str, done: Exported) -> None:
    """What pytest -s shows."""
    ratio = done.agreement.time_ms / done.agreement.torch_time_ms
    sys.stdout.write(
        f"{name}: {done.agreement.largest_difference:.1e}, {ratio:.2f} times PyTorch's time, "
        f"{done.n_bytes / 1e6:.1f} MB, {done.n_nodes} nodes\n"
    )
