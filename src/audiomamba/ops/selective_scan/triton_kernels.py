"""The kernels of the selective scan for GPUs, in Triton.

The tokens are cut into chunks that are scanned side by side. Three kernels make a scan:
`chunk_ends` finds what each chunk makes of an empty state, `carry` passes the state from chunk to
chunk, and `outputs` scans every chunk from the state that enters it. The gradient runs the first
two against the scan, too, for the adjoint of the state, and `gradients` does the rest, one small
chunk at a time, with the chunk's states in registers.

Both directions of a bidirectional scan are worked on by the same programs, which read u, delta, B,
C and z once; direction 1 is the reverse of direction 0. A tile has states along its first axis and
channels along its last, so that a thread holds all states of its channels and sums over them
without talking to other threads. Steps beyond a sample's length have size 0, which keeps the state.

Letters as in the op's docstring; `rate` is A times log2(e), so that decay is exp2(delta * rate).
Shapes of the buffers, all contiguous: rate (directions, states, channels), carried states
(directions, batch, chunks, states, channels), sums of steps (batch, chunks, channels).
"""

import triton
import triton.language as tl

__all__ = ["carry", "chunk_ends", "gradients", "outputs"]


@triton.jit
def _softplus(x):
    """log(1 + exp(x)), exact for small exp(x) too; linear above 20, as in PyTorch."""
    power = tl.exp(tl.minimum(x, 20.0))
    total = 1.0 + power
    lost = total == 1.0
    exact = tl.log(total) * (power / tl.where(lost, 1.0, total - 1.0))
    return tl.where(x > 20.0, x, tl.where(lost, power, exact))


@triton.jit
def _sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    power = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, power) / (1.0 + power)


@triton.jit
def _step(delta, bias, mask, SOFTPLUS: tl.constexpr):
    """The step size: 0 where masked."""
    raw = delta.to(tl.float32) + bias
    return tl.where(mask, _softplus(raw) if SOFTPLUS else raw, 0.0)


@triton.jit
def _map_offsets(n, e, per_group, stride_group, ONE_GROUP: tl.constexpr, BLOCK: tl.constexpr):
    """Where a token's B or C lies for states n (states, 1) and channels e (1, channels)."""
    # With ONE_GROUP all channels of the block belong to one.
    group = tl.program_id(0) * BLOCK // per_group if ONE_GROUP else e // per_group
    return n + group.to(tl.int64) * stride_group


@triton.jit
def chunk_ends(
    x_ptr, x_batch, x_token,
    delta_ptr, delta_batch, delta_token,
    z_ptr, z_batch, z_token,
    map_ptr, map_batch, map_token, map_group,
    rate_ptr, bias_ptr, lengths_ptr, ends_ptr, sums_ptr,
    batch, tokens, channels, states, per_group, n_chunks, chunk_tokens,
    ADJOINT: tl.constexpr, REVERSE: tl.constexpr,
    HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr, SOFTPLUS: tl.constexpr, HAS_LENGTHS: tl.constexpr,
    ONE_GROUP: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    """What each chunk makes of an empty state, and how long its steps are together.

    With ADJOINT the state is the adjoint that a token hands to the one before it, x is the gradient
    of the output (z gates it), the map is C, and tokens are walked against the scan.
    Grid: blocks of channels, chunks, batch * directions.
    """
    chunk = tl.program_id(1)
    sample = tl.program_id(2) % batch
    direction = tl.program_id(2) // batch
    n = tl.arange(0, STATES)[:, None]
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    in_e, in_n = e < channels, n < states
    wide_batch = sample.to(tl.int64)
    length = tl.load(lengths_ptr + sample).to(tl.int32) if HAS_LENGTHS else tokens
    rate = tl.load(rate_ptr + (direction * states + n) * channels + e, mask=in_n & in_e, other=0.0)
    bias = tl.load(bias_ptr + e, mask=in_e, other=0.0) if HAS_BIAS else 0.0
    map_at = map_ptr + wide_batch * map_batch
    map_at += _map_offsets(n, e, per_group, map_group, ONE_GROUP, BLOCK)
    in_map = in_n if ONE_GROUP else in_n & in_e
    backwards = (direction == 1) != (REVERSE != ADJOINT)
    begin = chunk.to(tl.int64) * chunk_tokens + tl.zeros((1, 1), tl.int64)
    state = tl.zeros((STATES, BLOCK), tl.float32)
    total = tl.zeros((1, BLOCK), tl.float32)
    for start in range(0, chunk_tokens, UNROLL):
        for i in tl.static_range(UNROLL):
            place = start + i
            place = tl.where(backwards, chunk_tokens - 1 - place, place)
            t = begin + place
            valid = in_e & (t >= begin) & (t < begin + chunk_tokens) & (t < length)
            x = tl.load(x_ptr + wide_batch * x_batch + t * x_token + e, mask=valid, other=0.0)
            delta = tl.load(
                delta_ptr + wide_batch * delta_batch + t * delta_token + e, mask=valid, other=0.0
            )
            in_token = (t >= begin) & (t < length)
            maps = tl.load(map_at + t * map_token, mask=in_map & in_token, other=0.0)
            x, maps = x.to(tl.float32), maps.to(tl.float32)
            step = _step(delta, bias, valid, SOFTPLUS)
            decay = tl.exp2(step * rate)
            if ADJOINT:
                if HAS_Z:
                    z_at = z_ptr + wide_batch * z_batch + t * z_token + e
                    z = tl.load(z_at, mask=valid, other=0.0).to(tl.float32)
                    x = x * z * _sigmoid(z)
                state = decay * (state + x * maps)
            else:
                state = decay * state + step * x * maps
            total += step
    at = (direction * batch + wide_batch) * n_chunks + chunk
    tl.store(ends_ptr + (at * states + n) * channels + e, state, mask=in_n & in_e)
    if direction == 0:
        tl.store(sums_ptr + (wide_batch * n_chunks + chunk) * channels + e, total, mask=in_e)


@triton.jit
def carry(
    states_ptr, sums_ptr, rate_ptr, first_ptr, last_ptr,
    batch, channels, states, n_chunks,
    REVERSE: tl.constexpr, HAS_FIRST: tl.constexpr, WANT_LAST: tl.constexpr,
    STATES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Replace what each chunk makes of an empty state by the state that enters it.

    Grid: blocks of channels, batch, directions.
    """
    sample, direction = tl.program_id(1).to(tl.int64), tl.program_id(2)
    n = tl.arange(0, STATES)[:, None]
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    inside = (n < states) & (e < channels)
    rate = tl.load(rate_ptr + (direction * states + n) * channels + e, mask=inside, other=0.0)
    # The first and last state are (batch, channels, states), as the op's caller sees them.
    own = (sample * channels + e) * states + n
    state = tl.zeros((STATES, BLOCK), tl.float32)
    if HAS_FIRST:
        state = tl.load(first_ptr + own, mask=inside, other=0.0)
    backwards = (direction == 1) != REVERSE
    for i in range(n_chunks):
        chunk = tl.where(backwards, n_chunks - 1 - i, i)
        at = ((direction * batch + sample) * n_chunks + chunk) * states + n
        at = states_ptr + at * channels
        made = tl.load(at + e, mask=inside, other=0.0)
        total = tl.load(
            sums_ptr + (sample * n_chunks + chunk) * channels + e, mask=e < channels, other=0.0
        )
        tl.store(at + e, state, mask=inside)
        state = tl.exp2(total * rate) * state + made
    if WANT_LAST:
        tl.store(last_ptr + own, state, mask=inside)


@triton.jit
def outputs(
    u_ptr, u_batch, u_token,
    delta_ptr, delta_batch, delta_token,
    z_ptr, z_batch, z_token,
    B_ptr, B_batch, B_token, B_group,
    C_ptr, C_batch, C_token, C_group,
    rate_ptr, D_ptr, bias_ptr, lengths_ptr, entering_ptr, sum_ptr, out_ptr, last_ptr,
    batch, tokens, channels, states, per_group, n_chunks, chunk_tokens,
    DIRECTIONS: tl.constexpr, REVERSE: tl.constexpr, HAS_ENTERING: tl.constexpr,
    WANT_LAST: tl.constexpr, HAS_Z: tl.constexpr, HAS_D: tl.constexpr, HAS_BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr, HAS_LENGTHS: tl.constexpr, ONE_GROUP: tl.constexpr,
    STATES: tl.constexpr, BLOCK: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    """Scan every chunk from the state that enters it, one direction after the other.

    The first of two directions leaves its outputs in `sum` (batch, tokens, channels), float32; the
    second adds its own, D * u and the gate. Grid: blocks of channels, chunks, batch.
    """
    chunk, sample = tl.program_id(1), tl.program_id(2)
    n = tl.arange(0, STATES)[:, None]
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    in_e, in_n = e < channels, n < states
    wide_batch = sample.to(tl.int64)
    length = tl.load(lengths_ptr + sample).to(tl.int32) if HAS_LENGTHS else tokens
    bias = tl.load(bias_ptr + e, mask=in_e, other=0.0) if HAS_BIAS else 0.0
    skip = tl.load(D_ptr + e, mask=in_e, other=0.0) * DIRECTIONS if HAS_D else 0.0
    B_at = B_ptr + wide_batch * B_batch
    B_at += _map_offsets(n, e, per_group, B_group, ONE_GROUP, BLOCK)
    C_at = C_ptr + wide_batch * C_batch
    C_at += _map_offsets(n, e, per_group, C_group, ONE_GROUP, BLOCK)
    in_map = in_n if ONE_GROUP else in_n & in_e
    begin = chunk.to(tl.int64) * chunk_tokens + tl.zeros((1, 1), tl.int64)
    own = wide_batch * tokens * channels + e
    for direction in tl.static_range(DIRECTIONS):
        rate = tl.load(
            rate_ptr + (direction * states + n) * channels + e, mask=in_n & in_e, other=0.0
        )
        state = tl.zeros((STATES, BLOCK), tl.float32)
        if HAS_ENTERING:
            at = (direction * batch + wide_batch) * n_chunks + chunk
            state = tl.load(
                entering_ptr + (at * states + n) * channels + e, mask=in_n & in_e, other=0.0
            )
        for start in range(0, chunk_tokens, UNROLL):
            for i in tl.static_range(UNROLL):
                place = start + i
                if (direction == 1) != REVERSE:
                    place = chunk_tokens - 1 - place
                t = begin + place
                in_chunk = (t >= begin) & (t < begin + chunk_tokens)
                inside = in_e & in_chunk & (t < tokens)
                valid = inside & (t < length)
                u = tl.load(u_ptr + wide_batch * u_batch + t * u_token + e, mask=valid, other=0.0)
                delta = tl.load(
                    delta_ptr + wide_batch * delta_batch + t * delta_token + e,
                    mask=valid,
                    other=0.0,
                )
                in_token = in_map & (t >= begin) & (t < length)
                B = tl.load(B_at + t * B_token, mask=in_token, other=0.0)
                C = tl.load(C_at + t * C_token, mask=in_token, other=0.0)
                u = u.to(tl.float32)
                step = _step(delta, bias, valid, SOFTPLUS)
                state = tl.exp2(step * rate) * state + step * u * B.to(tl.float32)
                y = tl.sum(state * C.to(tl.float32), axis=0)[None, :]
                if direction < DIRECTIONS - 1:
                    tl.store(sum_ptr + own + t * channels, y, mask=inside)
                else:
                    if DIRECTIONS == 2:
                        y += tl.load(sum_ptr + own + t * channels, mask=inside, other=0.0)
                    y += skip * u
                    if HAS_Z:
                        z_at = z_ptr + wide_batch * z_batch + t * z_token + e
                        z = tl.load(z_at, mask=valid, other=0.0).to(tl.float32)
                        y = y * z * _sigmoid(z)
                    y = tl.where(valid, y, 0.0).to(out_ptr.dtype.element_ty)
                    tl.store(out_ptr + own + t * channels, y, mask=inside)
        if WANT_LAST:
            tl.store(last_ptr + (wide_batch * channels + e) * states + n, state, mask=in_n & in_e)
        tl.debug_barrier()


@triton.jit
def _combine(decay_1, made_1, decay_2, made_2):
    """Two stretches of a recurrence, one after the other."""
    return decay_1 * decay_2, decay_2 * made_1 + made_2


@triton.jit
def _rows(ptr, offset, stride, t, e, mask):
    """(tokens, 1, channels) of a tensor, 0 where masked, in float32."""
    return tl.load(ptr + offset + t * stride + e, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def gradients(
    u_ptr, u_batch, u_token,
    delta_ptr, delta_batch, delta_token,
    z_ptr, z_batch, z_token,
    B_ptr, B_batch, B_token, B_group,
    C_ptr, C_batch, C_token, C_group,
    grad_ptr, grad_batch, grad_token,
    rate_ptr, D_ptr, bias_ptr, lengths_ptr, entering_ptr, leaving_ptr,
    grad_u_ptr, grad_delta_ptr, grad_z_ptr, grad_B_ptr, grad_C_ptr,
    grad_A_ptr, grad_D_ptr, grad_bias_ptr,
    batch, tokens, channels, states, per_group, n_chunks,
    DIRECTIONS: tl.constexpr, REVERSE: tl.constexpr,
    HAS_Z: tl.constexpr, HAS_D: tl.constexpr, HAS_BIAS: tl.constexpr, SOFTPLUS: tl.constexpr,
    HAS_LENGTHS: tl.constexpr, ONE_GROUP: tl.constexpr,
    STATES: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """All gradients of one chunk, its states and their adjoints found by scans over a tile.

    `entering` are the states that enter the chunks, `leaving` the adjoints that come from behind.
    Sums over channels (of B and C) are left per block, sums over tokens (of A, D and the bias) per
    chunk: the caller adds them up. Grid: blocks of channels, chunks, batch.
    """
    block, chunk, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    place = tl.arange(0, CHUNK)[:, None, None]
    n = tl.arange(0, STATES)[None, :, None]
    e = block * BLOCK + tl.arange(0, BLOCK)[None, None, :]
    in_e, in_n = e < channels, n < states
    wide_batch = sample.to(tl.int64)
    length = tl.load(lengths_ptr + sample).to(tl.int32) if HAS_LENGTHS else tokens
    bias = tl.load(bias_ptr + e, mask=in_e, other=0.0) if HAS_BIAS else 0.0
    skip = tl.load(D_ptr + e, mask=in_e, other=0.0) * DIRECTIONS if HAS_D else 0.0
    B_at = B_ptr + wide_batch * B_batch
    B_at += _map_offsets(n, e, per_group, B_group, ONE_GROUP, BLOCK)
    C_at = C_ptr + wide_batch * C_batch
    C_at += _map_offsets(n, e, per_group, C_group, ONE_GROUP, BLOCK)
    in_map = in_n if ONE_GROUP else in_n & in_e
    t = chunk.to(tl.int64) * CHUNK + place
    valid = in_e & (t < length)
    u = _rows(u_ptr, wide_batch * u_batch, u_token, t, e, valid)
    raw = _rows(delta_ptr, wide_batch * delta_batch, delta_token, t, e, valid)
    grad = _rows(grad_ptr, wide_batch * grad_batch, grad_token, t, e, valid)
    step = _step(raw, bias, valid, SOFTPLUS)
    B = tl.load(B_at + t * B_token, mask=in_map & (t < length), other=0.0).to(tl.float32)
    C = tl.load(C_at + t * C_token, mask=in_map & (t < length), other=0.0).to(tl.float32)
    of_sum = grad
    if HAS_Z:
        z = _rows(z_ptr, wide_batch * z_batch, z_token, t, e, valid)
        gate = _sigmoid(z)
        of_sum = grad * z * gate
    total = skip * u
    of_u = skip * of_sum
    of_step = tl.zeros((CHUNK, 1, BLOCK), tl.float32)
    for direction in tl.static_range(DIRECTIONS):
        rate = tl.load(
            rate_ptr + (direction * states + n) * channels + e, mask=in_n & in_e, other=0.0
        )
        at = (direction * batch + wide_batch) * n_chunks + chunk
        at = (at * states + n) * channels + e
        entering = tl.load(entering_ptr + at, mask=in_n & in_e, other=0.0)
        leaving = tl.load(leaving_ptr + at, mask=in_n & in_e, other=0.0)
        decay = tl.exp2(step * rate)
        # kept is the part of a state that comes from the token before: state = kept + inflow. It
        # follows from the inflow of that token; the adjoint that a token gets from the one behind
        # it, likewise, from the decay there.
        onward = -1 if (direction == 1) != REVERSE else 1
        before, behind = t - onward, t + onward
        first = CHUNK - 1 if (direction == 1) != REVERSE else 0
        final = CHUNK - 1 - first
        has_before = valid & (place != first) & (before < length)
        u_before = _rows(u_ptr, wide_batch * u_batch, u_token, before, e, has_before)
        raw_before = _rows(delta_ptr, wide_batch * delta_batch, delta_token, before, e, has_before)
        step_before = _step(raw_before, bias, has_before, SOFTPLUS)
        in_before = in_map & (place != first) & (before < length)
        B_before = tl.load(B_at + before * B_token, mask=in_before, other=0.0).to(tl.float32)
        made = step_before * u_before * B_before
        made = decay * tl.where(place == first, entering, made)
        _, kept = tl.associative_scan(
            (decay, made), 0, _combine, reverse=(direction == 1) != REVERSE
        )
        state = kept + step * u * B
        total += tl.sum(state * C, axis=1, keep_dims=True)
        has_behind = in_e & (place != final) & (behind < length)
        raw_behind = _rows(delta_ptr, wide_batch * delta_batch, delta_token, behind, e, has_behind)
        decay_behind = tl.exp2(_step(raw_behind, bias, has_behind, SOFTPLUS) * rate)
        adjoint = of_sum * C + tl.where(place == final, leaving, 0.0)
        _, adjoint = tl.associative_scan(
            (decay_behind, adjoint), 0, _combine, reverse=(direction == 1) == REVERSE
        )
        of_decay = adjoint * kept  # times decay rate: the gradient of step * A
        inflow = tl.sum(adjoint * B, axis=1, keep_dims=True)
        of_u += inflow * step
        of_step += inflow * u + tl.sum(of_decay * rate, axis=1, keep_dims=True) * 0.6931471805599453
        of_A = tl.sum(of_decay * step, axis=0, keep_dims=True)
        tl.store(grad_A_ptr + at, of_A, mask=in_n & in_e)
        of_B, of_C = adjoint * step * u, state * of_sum
        inside = (t < tokens) & in_n
        if ONE_GROUP:  # (directions, blocks, batch, tokens, states)
            blocks = tl.num_programs(0)
            row = ((direction * blocks + block) * batch + wide_batch) * tokens + t
            at = row * states + n
            tl.store(grad_B_ptr + at, tl.sum(of_B, axis=2, keep_dims=True), mask=inside)
            tl.store(grad_C_ptr + at, tl.sum(of_C, axis=2, keep_dims=True), mask=inside)
        else:  # (directions, batch, tokens, channels, states)
            row = ((direction * batch + wide_batch) * tokens + t) * channels + e
            tl.store(grad_B_ptr + row * states + n, of_B, mask=inside & in_e)
            tl.store(grad_C_ptr + row * states + n, of_C, mask=inside & in_e)
    if SOFTPLUS:
        of_step = of_step * tl.where(raw + bias > 20.0, 1.0, _sigmoid(raw + bias))
    of_step = tl.where(valid, of_step, 0.0)
    inside = in_e & (t < tokens)
    row = (wide_batch * tokens + t) * channels + e
    tl.store(grad_u_ptr + row, of_u.to(grad_u_ptr.dtype.element_ty), mask=inside)
    tl.store(grad_delta_ptr + row, of_step.to(grad_delta_ptr.dtype.element_ty), mask=inside)
    if HAS_Z:
        of_z = grad * total * gate * (1.0 + z * (1.0 - gate))
        tl.store(grad_z_ptr + row, of_z.to(grad_z_ptr.dtype.element_ty), mask=inside)
    own = (wide_batch * n_chunks + chunk) * channels + e
    if HAS_D:
        of_D = tl.sum(of_sum * u, axis=0, keep_dims=True) * DIRECTIONS
        tl.store(grad_D_ptr + own, of_D, mask=in_e)
    if HAS_BIAS:
        tl.store(grad_bias_ptr + own, tl.sum(of_step, axis=0, keep_dims=True), mask=in_e)
