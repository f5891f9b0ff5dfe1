"""The ops and the mixer made of them."""

from typing import Any

from torch import Tensor

from audiomamba import ops
from audiomamba.models import SSMConfig
from audiomamba.models.layers.mamba import MambaMixer
from checks.closeness import OUTPUT, close, close_gradients, with_gradients

DIRECTIONS = {"none": "fo-fo", "v1": "fo-bi", "v2": "bi-bi"}


def channel_last(x: Tensor) -> Tensor:
    """(batch, [groups,] channels, tokens) with tokens moved behind the batch; the rest as it is."""
    return x.movedim(-1, 1) if x.ndim > 2 else x


def selective_scan(golden: Any) -> None:
    """All backends that can run here; Triton's kernels are interpreted if there is no GPU."""
    for backend in ops.available_backends():
        scan_on(backend, golden)


def scan_on(backend: str, golden: Any) -> None:
    inputs = with_gradients(golden.below("input"))
    out, last_state = ops.selective_scan(
        *(channel_last(inputs[name]) for name in ("u", "delta")),
        inputs["A"],
        *(channel_last(inputs[name]) for name in ("B", "C")),
        D=inputs.get("D"),
        z=channel_last(inputs["z"]) if "z" in inputs else None,
        delta_bias=inputs.get("delta_bias"),
        delta_softplus=golden.args["delta_softplus"],
        return_last_state=True,
        backend=backend,
    )
    out = out.movedim(1, -1)
    close(out, golden.tensors["output"], OUTPUT, "output")
    close(last_state, golden.tensors["last_state"], OUTPUT, "last state")
    (out * golden.tensors["probe"]).sum().backward()
    close_gradients(golden.below("grad"), inputs)


def causal_conv1d(golden: Any) -> None:
    """All backends that can run here."""
    for backend in ops.available_backends():
        inputs = with_gradients(golden.below("input"))
        out = ops.causal_conv1d(
            channel_last(inputs["x"]),
            inputs["weight"],
            inputs.get("bias"),
            activation=golden.args["activation"],
            backend=backend,
        ).movedim(1, -1)
        close(out, golden.tensors["output"], OUTPUT, "output")
        (out * golden.tensors["probe"]).sum().backward()
        close_gradients(golden.below("grad"), inputs)


def add_rms_norm(golden: Any) -> None:
    """All backends that can run here."""
    for backend in ops.available_backends():
        inputs = with_gradients(golden.below("input"))
        out, residual = ops.add_rms_norm(
            inputs["x"],
            inputs.get("residual"),
            inputs["weight"],
            eps=golden.args["eps"],
            backend=backend,
        )
        close(out, golden.tensors["output"], OUTPUT, "output")
        close(residual, golden.tensors["residual_out"], OUTPUT, "residual")
        probe = golden.tensors["probe"]
        ((out * probe).sum() + (residual * probe.flip(0)).sum()).backward()
        close_gradients(golden.below("grad"), inputs)


def mixer(golden: Any) -> None:
    """All backends that can run here."""
    for backend in ops.available_backends():
        with ops.use_backend(backend):
            mixer_as_chosen(golden)


def mixer_as_chosen(golden: Any) -> None:
    args = golden.args
    state = golden.below("state")
    d_inner, d_state = state["A_log"].shape
    ssm = SSMConfig(
        d_state=d_state,
        d_conv=state["conv1d.weight"].shape[2],
        expand=d_inner // args["d_model"],
        dt_rank=state["dt_proj.weight"].shape[1],
        halve_sum=args["if_devide_out"],
    )
    model = MambaMixer(args["d_model"], DIRECTIONS[args["bimamba_type"]], ssm)
    model.load_state_dict(state)
    x = golden.tensors["input"].clone().requires_grad_()
    out = model(x)
    close(out, golden.tensors["output"], OUTPUT, "output")
    (out * golden.tensors["probe"]).sum().backward()
    close_gradients(golden.below("grad"), dict(model.named_parameters()) | {"input": x})


CHECKS = {
    "add_rmsnorm": add_rms_norm,
    "causal_conv1d": causal_conv1d,
    "mixer": mixer,
    "selective_scan": selective_scan,
}
