"""The kernels of the gradients of the selective scan for GPUs, in Triton.

`gradients` works on one chunk, from the state that enters it and the adjoint that comes from
the chunk after it: it walks along the scan and leaves the state at every UNROLL-th token in a
buffer, then walks back by so many tokens at a time, with their states in registers. `finish` does
what belongs to one token and channel. Layout, letters and buffers are those of triton_kernels.
"""

import triton
import triton.language as tl

from audiomamba.ops.selective_scan.triton_kernels import bounds, indices, over_states, sigmoid

__all__ = ["finish", "gradients"]


@triton.jit
def _over_channels(x, MIRROR: tl.constexpr):
    """The sum over channels, which every thread of a state has."""
    x = tl.sum(x, axis=3 if MIRROR else 0, keep_dims=True)
    return tl.broadcast_to(tl.sum(x, axis=0 if MIRROR else 3, keep_dims=True), x.shape)


@triton.jit
def gradients(
    u_ptr, u_batch, u_token,
    B_ptr, B_batch, B_token, B_group,
    C_ptr, C_batch, C_token, C_group,
    step_ptr, grad_ptr, rate_ptr, lengths_ptr, entering_ptr, leaving_ptr, inner_ptr,
    sum_ptr, inflow_ptr, pull_ptr, grad_B_ptr, grad_C_ptr, grad_A_ptr,
    batch, tokens, channels, states, per_group, n_chunks, chunk_tokens, first_chunk,
    DIRECTIONS: tl.constexpr, REVERSE: tl.constexpr, HAS_Z: tl.constexpr,
    HAS_LENGTHS: tl.constexpr, ONE_GROUP: tl.constexpr, EVEN: tl.constexpr,
    EACH_E: tl.constexpr, EACH_N: tl.constexpr, LANES_N: tl.constexpr, LANES_E: tl.constexpr,
    MIRROR: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    """Find the sums over states of one chunk, and its shares of the gradients of A, B and C.

    `step` and `grad` (the gradient of the scan's sum, gated) are (batch, tokens, channels) in
    float32, and so are the results: `sum` of C * state, `inflow` of adjoint * B, `pull` of the
    gradient of the step through the decay. Sums over channels (of B and C) are left per block,
    those over tokens (of A) per chunk: the caller adds them up. The second direction adds to what
    the first has left. Grid: blocks of channels, chunks from first_chunk on, batch.
    """
    BLOCK: tl.constexpr = EACH_E * LANES_E
    STATES: tl.constexpr = EACH_N * LANES_N
    block, sample = tl.program_id(0), tl.program_id(2).to(tl.int64)
    chunk = first_chunk + tl.program_id(1)
    e, n = indices(EACH_E, EACH_N, LANES_N, LANES_E, MIRROR)
    # The states inside a chunk are written and read by the same threads, in their own order.
    lane = n * BLOCK + e
    group = block * BLOCK // per_group if ONE_GROUP else (block * BLOCK + e) // per_group
    e += block * BLOCK
    in_e, in_n = e < channels, n < states
    if EVEN:
        in_e, in_n = e * 0 == 0, n * 0 == 0
    in_map = in_n if ONE_GROUP else in_n & in_e
    in_both = in_n & in_e
    length = tl.load(lengths_ptr + sample) if HAS_LENGTHS else tokens
    length, end = bounds(length, tokens, (1, 1, 1, 1))
    u_at, B_at, C_at = u_ptr + sample * u_batch, B_ptr + sample * B_batch, C_ptr + sample * C_batch
    B_index, C_index, index = n + group * B_group, n + group * C_group, n * channels + e
    # With one group (blocks, batch, tokens, states), else (batch, tokens, channels, states).
    map_index = n if ONE_GROUP else e * states + n
    map_size = states if ONE_GROUP else channels * states
    map_row = ((block if ONE_GROUP else 0) * batch + sample) * tokens
    begin = chunk.to(tl.int64) * chunk_tokens
    n_segments = chunk_tokens // UNROLL
    own = sample * tokens
    program = (sample * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + block
    inner_at = inner_ptr + program * n_segments * (STATES * BLOCK)
    for direction in tl.static_range(DIRECTIONS):
        backwards = (direction == 1) != REVERSE
        rate_at = rate_ptr + direction * states * channels
        rate = tl.load(rate_at + index, mask=in_both, other=0.0)
        at = ((direction * batch + sample) * n_chunks + chunk) * states * channels
        state = tl.load(entering_ptr + at + index, mask=in_both, other=0.0)
        for segment in range(n_segments - 1):
            tl.store(inner_at + segment * (STATES * BLOCK) + lane, state)
            us, steps, Bs = (), (), ()
            for i in tl.static_range(UNROLL):
                t = segment * UNROLL + i
                t = begin + (chunk_tokens - 1 - t if backwards else t)
                in_row = in_e & (t < length)
                us += (tl.load(u_at + t * u_token + e, mask=in_row, other=0.0),)
                steps += (tl.load(step_ptr + (own + t) * channels + e, mask=in_row, other=0.0),)
                in_maps = in_map & (t < length)
                Bs += (tl.load(B_at + t * B_token + B_index, mask=in_maps, other=0.0),)
            for i in tl.static_range(UNROLL):
                x = steps[i] * us[i].to(tl.float32)
                state = tl.exp2(steps[i] * rate) * state + x * Bs[i].to(tl.float32)
        tl.store(inner_at + (n_segments - 1) * (STATES * BLOCK) + lane, state)
        tl.debug_barrier()

        adjoint = tl.load(leaving_ptr + at + index, mask=in_both, other=0.0)
        of_A = tl.zeros_like(rate)
        for back in range(n_segments):
            segment = n_segments - 1 - back
            state = tl.load(inner_at + segment * (STATES * BLOCK) + lane)
            xs, steps, Bs, kepts = (), (), (), ()
            for i in tl.static_range(UNROLL):
                t = segment * UNROLL + i
                t = begin + (chunk_tokens - 1 - t if backwards else t)
                in_row = in_e & (t < length)
                u = tl.load(u_at + t * u_token + e, mask=in_row, other=0.0).to(tl.float32)
                steps += (tl.load(step_ptr + (own + t) * channels + e, mask=in_row, other=0.0),)
                xs += (steps[i] * u,)
                in_maps = in_map & (t < length)
                B = tl.load(B_at + t * B_token + B_index, mask=in_maps, other=0.0)
                Bs += (B.to(tl.float32),)
            # kept is the share of a state that comes from the token before.
            for i in tl.static_range(UNROLL):
                kept = tl.exp2(steps[i] * rate) * state
                state = kept + xs[i] * Bs[i]
                kepts += (kept,)
            for i in tl.static_range(UNROLL - 1, -1, -1):
                t = segment * UNROLL + i
                t = begin + (chunk_tokens - 1 - t if backwards else t)
                row, maps = (own + t) * channels, (map_row + t) * map_size
                in_row, in_maps = in_e & (t < length), in_map & (t < length)
                inside, in_rows = in_e & (t < end), in_map & (t < end)
                grad = tl.load(grad_ptr + row + e, mask=in_row, other=0.0)
                C = tl.load(C_at + t * C_token + C_index, mask=in_maps, other=0.0).to(tl.float32)
                inflow, pull, y, of_B, of_C = 0.0, 0.0, 0.0, 0.0, 0.0
                if direction > 0:
                    inflow = tl.load(inflow_ptr + row + e, mask=inside, other=0.0)
                    pull = tl.load(pull_ptr + row + e, mask=inside, other=0.0)
                    of_B = tl.load(grad_B_ptr + maps + map_index, mask=in_rows, other=0.0)
                    of_C = tl.load(grad_C_ptr + maps + map_index, mask=in_rows, other=0.0)
                    if HAS_Z:
                        y = tl.load(sum_ptr + row + e, mask=inside, other=0.0)
                state = kepts[i] + xs[i] * Bs[i]
                adjoint += C * grad
                if ONE_GROUP:
                    of_B += _over_channels(adjoint * xs[i], MIRROR)
                    of_C += _over_channels(state * grad, MIRROR)
                else:
                    of_B += adjoint * xs[i]
                    of_C += state * grad
                of_decay = adjoint * kepts[i]  # times decay rate: the gradient of step * A
                inflow += over_states(adjoint * Bs[i], MIRROR)
                pull += over_states(of_decay * rate, MIRROR) * 0.6931471805599453
                of_A += of_decay * steps[i]
                if HAS_Z:
                    y += over_states(state * C, MIRROR)
                    tl.store(sum_ptr + row + e, y, mask=inside)
                tl.store(inflow_ptr + row + e, inflow, mask=inside)
                tl.store(pull_ptr + row + e, pull, mask=inside)
                tl.store(grad_B_ptr + maps + map_index, of_B, mask=in_rows)
                tl.store(grad_C_ptr + maps + map_index, of_C, mask=in_rows)
                adjoint *= tl.exp2(steps[i] * rate)
        tl.store(grad_A_ptr + at + index, of_A, mask=in_both)
        tl.debug_barrier()


@triton.jit
def finish(
    u_ptr, u_batch, u_token,
    delta_ptr, delta_batch, delta_token,
    z_ptr, z_batch, z_token,
    grad_out_ptr, grad_batch, grad_token,
    step_ptr, grad_ptr, sum_ptr, inflow_ptr, pull_ptr, D_ptr, bias_ptr, lengths_ptr,
    grad_u_ptr, grad_delta_ptr, grad_z_ptr, grad_D_ptr, grad_bias_ptr,
    tokens, channels, n_tiles,
    DIRECTIONS: tl.constexpr, HAS_Z: tl.constexpr, HAS_D: tl.constexpr, HAS_BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr, HAS_LENGTHS: tl.constexpr, TOKENS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of u, delta and z, and the sums over some tokens for those of D and the bias.

    A program walks over n_tiles tiles of (tokens, channels); its own sums are (batch, chunks,
    channels), and the caller adds them up. Grid: blocks of channels, chunks of tokens, batch.
    """
    chunk, sample = tl.program_id(1), tl.program_id(2).to(tl.int64)
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    in_e = e < channels
    length = tl.load(lengths_ptr + sample) if HAS_LENGTHS else tokens
    length, end = bounds(length, tokens, (1, 1))
    bias = tl.load(bias_ptr + e, mask=in_e, other=0.0) if HAS_BIAS else 0.0
    skip = tl.load(D_ptr + e, mask=in_e, other=0.0) * DIRECTIONS if HAS_D else 0.0
    sum_D = tl.zeros((1, BLOCK), tl.float32)
    sum_bias = tl.zeros((1, BLOCK), tl.float32)
    for tile in range(n_tiles):
        t = (chunk.to(tl.int64) * n_tiles + tile) * TOKENS + tl.arange(0, TOKENS)[:, None]
        there, inside = in_e & (t < length), in_e & (t < end)
        row = (sample * tokens + t) * channels + e
        u_at = u_ptr + sample * u_batch + t * u_token + e
        u = tl.load(u_at, mask=there, other=0.0).to(tl.float32)
        step = tl.load(step_ptr + row, mask=there, other=0.0)
        grad = tl.load(grad_ptr + row, mask=there, other=0.0)
        inflow = tl.load(inflow_ptr + row, mask=there, other=0.0)
        of_step = inflow * u + tl.load(pull_ptr + row, mask=there, other=0.0)
        if SOFTPLUS:
            delta_at = delta_ptr + sample * delta_batch + t * delta_token + e
            raw = tl.load(delta_at, mask=there, other=0.0).to(tl.float32) + bias
            of_step = tl.where(there, of_step * sigmoid(raw), 0.0)
        of_u = (inflow * step + skip * grad).to(grad_u_ptr.dtype.element_ty)
        tl.store(grad_u_ptr + row, of_u, mask=inside)
        tl.store(grad_delta_ptr + row, of_step.to(grad_delta_ptr.dtype.element_ty), mask=inside)
        if HAS_Z:
            z_at = z_ptr + sample * z_batch + t * z_token + e
            z = tl.load(z_at, mask=there, other=0.0).to(tl.float32)
            out_at = grad_out_ptr + sample * grad_batch + t * grad_token + e
            of_out = tl.load(out_at, mask=there, other=0.0).to(tl.float32)
            total = tl.load(sum_ptr + row, mask=there, other=0.0) + skip * u
            gate = sigmoid(z)
            of_z = of_out * total * gate * (1.0 + z * (1.0 - gate))
            tl.store(grad_z_ptr + row, of_z.to(grad_z_ptr.dtype.element_ty), mask=inside)
        sum_D += tl.sum(grad * u, axis=0, keep_dims=True) * DIRECTIONS
        sum_bias += tl.sum(of_step, axis=0, keep_dims=True)
    own = (sample * tl.num_programs(1) + chunk) * channels + e
    if HAS_D:
        tl.store(grad_D_ptr + own, sum_D, mask=in_e)
    if HAS_BIAS:
        tl.store(grad_bias_ptr + own, sum_bias, mask=in_e)
