"""The kernels of the selective scan for GPUs, in Triton.

The tokens are split into chunks that are scanned side by side. Three kernels make a scan:
`chunk_ends` finds what each chunk makes of an empty state, `carry` passes the state from chunk to
chunk, and `outputs` scans every chunk from the state that enters it. The gradient runs the first
two against the scan, too, for the adjoint of the state; the rest is in triton_gradient_kernels.

Both directions of a bidirectional scan are worked on by the same programs, which read u, delta, B,
C and z once; direction 1 is the reverse of direction 0. Steps beyond a sample's length have size 0,
which keeps the state.

A program is one warp with a block of channels and all their states, laid out along four axes:

    EACH_E   channels that a thread has
    EACH_N   states that a thread has of each
    LANES_N  threads that share the states of a channel
    LANES_E  threads side by side along the channels

so that sums over states and over channels are mostly made within a thread. Triton gives the last
two axes, 32 together, to the threads of a warp, as long as no load asks for another order: that is
why `indices` hides from it which numbers lie side by side. Before 3.7 it gave them the first axes
instead: with MIRROR the axes stand the other way round.

Letters as in the op's docstring; `rate` is A times log2(e), so that decay is exp2(delta * rate).
Shapes of the buffers, all contiguous: rate (directions, states, channels), carried states
(directions, batch, chunks, states, channels), sums of steps (batch, chunks, channels).
"""

import triton
import triton.language as tl

__all__ = ["bounds", "carry", "chunk_ends", "indices", "outputs", "over_states", "sigmoid"]


@triton.jit
def softplus(x):
    """log(1 + exp(x)), exact for small exp(x) too."""
    power = tl.exp2(-1.4426950408889634 * tl.abs(x))
    series = 1.0 - power * (0.5 - power * (0.33333334 - power * (0.25 - power * 0.2)))
    log = tl.where(power < 0.03125, power * series, tl.log2(1.0 + power) * 0.6931471805599453)
    return tl.maximum(x, 0.0) + log


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    power = tl.exp2(-1.4426950408889634 * tl.abs(x))
    return tl.where(x >= 0, 1.0, power) / (1.0 + power)


@triton.jit
def indices(
    EACH_E: tl.constexpr, EACH_N: tl.constexpr, LANES_N: tl.constexpr, LANES_E: tl.constexpr,
    MIRROR: tl.constexpr,
):  # fmt: skip
    """The channels of every thread, counted within the block, and its states."""
    hide = (tl.program_id(0) >> 31).to(tl.int64)  # 0, but Triton does not know it
    lane_e = tl.arange(0, LANES_E).to(tl.int64) ^ hide
    lane_n = tl.arange(0, LANES_N).to(tl.int64) ^ hide
    each_e, each_n = tl.arange(0, EACH_E) * LANES_E, tl.arange(0, EACH_N) * LANES_N
    if MIRROR:
        e = lane_e[:, None, None, None] + each_e[None, None, None, :]
        n = lane_n[None, :, None, None] + each_n[None, None, :, None]
        e = tl.broadcast_to(e, (LANES_E, LANES_N, 1, EACH_E))
        n = tl.broadcast_to(n, (LANES_E, LANES_N, EACH_N, 1))
    else:
        e = lane_e[None, None, None, :] + each_e[:, None, None, None]
        n = lane_n[None, None, :, None] + each_n[None, :, None, None]
        e = tl.broadcast_to(e, (EACH_E, 1, LANES_N, LANES_E))
        n = tl.broadcast_to(n, (1, EACH_N, LANES_N, LANES_E))
    return e, n


@triton.jit
def over_states(x, MIRROR: tl.constexpr):
    """The sum over states, which every thread of a channel has."""
    x = tl.sum(x, axis=2 if MIRROR else 1, keep_dims=True)
    return tl.broadcast_to(tl.sum(x, axis=1 if MIRROR else 2, keep_dims=True), x.shape)


@triton.jit
def bounds(length, tokens, SHAPE: tl.constexpr):
    """How many tokens are valid and how many there are, as tiles: scalars make no masks."""
    zero = tl.zeros(SHAPE, tl.int64)
    return zero + tl.minimum(length, tokens), zero + tokens


@triton.jit
def _step(delta, bias, mask, SOFTPLUS: tl.constexpr):
    """The step size: 0 where masked."""
    raw = delta.to(tl.float32) + bias
    return tl.where(mask, softplus(raw) if SOFTPLUS else raw, 0.0)


@triton.jit
def chunk_ends(
    x_ptr, x_batch, x_token,
    delta_ptr, delta_batch, delta_token,
    z_ptr, z_batch, z_token,
    map_ptr, map_batch, map_token, map_group,
    rate_ptr, bias_ptr, lengths_ptr, ends_ptr, sums_ptr, kept_ptr,
    batch, tokens, channels, states, per_group, n_chunks, chunk_tokens,
    ADJOINT: tl.constexpr, KEEP: tl.constexpr, REVERSE: tl.constexpr, HAS_Z: tl.constexpr,
    HAS_BIAS: tl.constexpr, SOFTPLUS: tl.constexpr, HAS_LENGTHS: tl.constexpr,
    ONE_GROUP: tl.constexpr, EVEN: tl.constexpr, EACH_E: tl.constexpr, EACH_N: tl.constexpr,
    LANES_N: tl.constexpr, LANES_E: tl.constexpr, MIRROR: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    """What each chunk makes of an empty state, and how long its steps are together.

    With ADJOINT the state is the adjoint that a token hands to the one before it, x is the gradient
    of the output (z gates it), the map is C, and tokens are walked against the scan. With KEEP the
    steps, or the gated gradient, are left in `kept` (batch, tokens, channels), float32.
    Grid: blocks of channels, chunks, batch * directions.
    """
    BLOCK: tl.constexpr = EACH_E * LANES_E
    block, chunk = tl.program_id(0), tl.program_id(1)
    sample = (tl.program_id(2) % batch).to(tl.int64)
    direction = tl.program_id(2) // batch
    e, n = indices(EACH_E, EACH_N, LANES_N, LANES_E, MIRROR)
    group = block * BLOCK // per_group if ONE_GROUP else (block * BLOCK + e) // per_group
    e += block * BLOCK
    in_e, in_n = e < channels, n < states
    if EVEN:
        in_e, in_n = e * 0 == 0, n * 0 == 0
    in_map = in_n if ONE_GROUP else in_n & in_e
    length = tl.load(lengths_ptr + sample) if HAS_LENGTHS else tokens
    length, end = bounds(length, tokens, (1, 1, 1, 1))
    index = n * channels + e
    rate_at = rate_ptr + direction * states * channels
    rate = tl.load(rate_at + index, mask=in_n & in_e, other=0.0)
    bias = tl.load(bias_ptr + e, mask=in_e, other=0.0) if HAS_BIAS else 0.0
    begin = chunk.to(tl.int64) * chunk_tokens
    backwards = ((direction == 1) != REVERSE) != ADJOINT
    is_first = end * direction == 0
    x_at, delta_at = x_ptr + sample * x_batch, delta_ptr + sample * delta_batch
    map_at, z_at = map_ptr + sample * map_batch, z_ptr + sample * z_batch if HAS_Z else 0
    map_index = n + group * map_group
    state = tl.zeros_like(rate)
    total = tl.zeros(e.shape, tl.float32)
    for start in range(0, chunk_tokens, UNROLL):
        for i in tl.static_range(UNROLL):
            index_in_chunk = start + i
            index_in_chunk = tl.where(backwards, chunk_tokens - 1 - index_in_chunk, index_in_chunk)
            t = begin + index_in_chunk
            there = t < length
            x = tl.load(x_at + t * x_token + e, mask=in_e & there, other=0.0).to(tl.float32)
            delta = tl.load(delta_at + t * delta_token + e, mask=in_e & there, other=0.0)
            maps = tl.load(map_at + t * map_token + map_index, mask=in_map & there, other=0.0)
            maps = maps.to(tl.float32)
            step = _step(delta, bias, there, SOFTPLUS)
            decay = tl.exp2(step * rate)
            if ADJOINT:
                if HAS_Z:
                    z = tl.load(z_at + t * z_token + e, mask=in_e & there, other=0.0)
                    z = z.to(tl.float32)
                    x = x * z * sigmoid(z)
                state = decay * (state + x * maps)
            else:
                state = decay * state + step * x * maps
            total += step
            if KEEP:
                row = kept_ptr + (sample * tokens + t) * channels
                keep = in_e & (t < end) & is_first
                tl.store(row + e, x if ADJOINT else step, mask=keep)
    at = ((direction * batch + sample) * n_chunks + chunk) * states * channels
    tl.store(ends_ptr + at + index, state, mask=in_n & in_e)
    row = sums_ptr + (sample * n_chunks + chunk) * channels
    tl.store(row + e, total, mask=in_e & is_first)


@triton.jit
def carry(
    states_ptr, sums_ptr, rate_ptr, first_ptr, last_ptr,
    batch, channels, states, n_chunks,
    REVERSE: tl.constexpr, HAS_FIRST: tl.constexpr, WANT_LAST: tl.constexpr,
    STATES: tl.constexpr, BLOCK: tl.constexpr, UNROLL: tl.constexpr,
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
    states_at = states_ptr + (direction * batch + sample) * n_chunks * states * channels
    sums_at = sums_ptr + sample * n_chunks * channels
    end = tl.zeros((1, 1), tl.int64) + n_chunks
    for start in range(0, n_chunks, UNROLL):
        # Loads first: none of them waits for the state.
        mades, totals = (), ()
        for i in tl.static_range(UNROLL):
            chunk = tl.where(backwards, n_chunks - 1 - start - i, start + i).to(tl.int64)
            there = start + i < end
            made_at = states_at + chunk * states * channels + n * channels + e
            mades += (tl.load(made_at, mask=inside & there, other=0.0),)
            total_at = sums_at + chunk * channels + e
            totals += (tl.load(total_at, mask=(e < channels) & there, other=0.0),)
        for i in tl.static_range(UNROLL):
            chunk = tl.where(backwards, n_chunks - 1 - start - i, start + i).to(tl.int64)
            there = start + i < end
            at = states_at + chunk * states * channels + n * channels + e
            tl.store(at, state, mask=inside & there)
            state = tl.exp2(totals[i] * rate) * state + mades[i]
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
    EVEN: tl.constexpr, EACH_E: tl.constexpr, EACH_N: tl.constexpr, LANES_N: tl.constexpr,
    LANES_E: tl.constexpr, MIRROR: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    """Scan every chunk from the state that enters it, one direction after the other.

    The first of two directions leaves its outputs in `sum` (batch, tokens, channels), float32; the
    second adds its own, D * u and the gate. Grid: blocks of channels, chunks, batch.
    """
    BLOCK: tl.constexpr = EACH_E * LANES_E
    block, chunk, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    e, n = indices(EACH_E, EACH_N, LANES_N, LANES_E, MIRROR)
    group = block * BLOCK // per_group if ONE_GROUP else (block * BLOCK + e) // per_group
    e += block * BLOCK
    in_e, in_n = e < channels, n < states
    if EVEN:
        in_e, in_n = e * 0 == 0, n * 0 == 0
    in_map = in_n if ONE_GROUP else in_n & in_e
    length = tl.load(lengths_ptr + sample) if HAS_LENGTHS else tokens
    length, end = bounds(length, tokens, (1, 1, 1, 1))
    bias = tl.load(bias_ptr + e, mask=in_e, other=0.0) if HAS_BIAS else 0.0
    skip = tl.load(D_ptr + e, mask=in_e, other=0.0) * DIRECTIONS if HAS_D else 0.0
    u_at, delta_at = u_ptr + sample * u_batch, delta_ptr + sample * delta_batch
    z_at = z_ptr + sample * z_batch if HAS_Z else 0
    B_at, C_at = B_ptr + sample * B_batch, C_ptr + sample * C_batch
    B_index, C_index, index = n + group * B_group, n + group * C_group, n * channels + e
    begin = chunk.to(tl.int64) * chunk_tokens
    own = sample * tokens
    for direction in tl.static_range(DIRECTIONS):
        rate_at = rate_ptr + direction * states * channels
        rate = tl.load(rate_at + index, mask=in_n & in_e, other=0.0)
        state = tl.zeros_like(rate)
        if HAS_ENTERING:
            at = ((direction * batch + sample) * n_chunks + chunk) * states * channels
            state = tl.load(entering_ptr + at + index, mask=in_n & in_e, other=0.0)
        backwards = (direction == 1) != REVERSE
        for start in range(0, chunk_tokens, UNROLL):
            # Loads first: none of them waits for the state, and no store is in their way.
            us, deltas, Bs, Cs, zs, sums = (), (), (), (), (), ()
            for i in tl.static_range(UNROLL):
                t = begin + (chunk_tokens - 1 - start - i if backwards else start + i)
                there = t < length
                in_row = in_e & there
                us += (tl.load(u_at + t * u_token + e, mask=in_row, other=0.0),)
                deltas += (tl.load(delta_at + t * delta_token + e, mask=in_row, other=0.0),)
                Bs += (tl.load(B_at + t * B_token + B_index, mask=in_map & there, other=0.0),)
                Cs += (tl.load(C_at + t * C_token + C_index, mask=in_map & there, other=0.0),)
                if direction == DIRECTIONS - 1:
                    if HAS_Z:
                        zs += (tl.load(z_at + t * z_token + e, mask=in_row, other=0.0),)
                    if DIRECTIONS == 2:
                        row = sum_ptr + (own + t) * channels
                        sums += (tl.load(row + e, mask=in_row, other=0.0),)
            for i in tl.static_range(UNROLL):
                t = begin + (chunk_tokens - 1 - start - i if backwards else start + i)
                there = t < length
                u = us[i].to(tl.float32)
                step = _step(deltas[i], bias, there, SOFTPLUS)
                state = tl.exp2(step * rate) * state + step * u * Bs[i].to(tl.float32)
                y = over_states(state * Cs[i].to(tl.float32), MIRROR)
                row = (own + t) * channels
                inside = in_e & (t < end)
                if direction == DIRECTIONS - 1:
                    if DIRECTIONS == 2:
                        y += sums[i]
                    y += skip * u
                    if HAS_Z:
                        z = zs[i].to(tl.float32)
                        y = y * z * sigmoid(z)
                    y = tl.where(there, y, 0.0).to(out_ptr.dtype.element_ty)
                    tl.store(out_ptr + row + e, y, mask=inside)
                else:
                    tl.store(sum_ptr + row + e, y, mask=inside)
        if WANT_LAST:
            at = (sample * channels + e) * states + n
            tl.store(last_ptr + at, state, mask=in_n & in_e)
        tl.debug_barrier()
