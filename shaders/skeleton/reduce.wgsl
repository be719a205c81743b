// Sums in a fixed order: of the items' losses, or of the items' weights (the denominator of the mean).
//
// A workgroup sums `chunk` items. A single workgroup finishes at once; several leave one record each in `work`, and a second
// dispatch, whose items are those records, finishes.
//
//   work     word 0: the denominator; words 1 .. 3: status (how many invalid items, the first one's index, its value);
//            from RECORDS_AT on: records of RECORD_WORDS
//   loss     ()   the reduced loss
//   values   the tensor whose element is reported as an invalid item's value
//
// The source file (reduce_*.wgsl) supplies fn read_item(i) -> Record.

struct Params {
    spare: vec4<u32>,
}

override COUNTING: bool = false;    // this sum is the denominator, else the loss

@group(0) @binding(1) var<storage, read> values: array<u32>;
@group(0) @binding(4) var<storage, read_write> work: array<u32>;
@group(0) @binding(5) var<storage, read_write> loss: array<u32>;

const RECORDS_AT = 8u;
const RECORD_WORDS = 8u;

const HAS_NAN = 1u;
const HAS_INF = 2u;
const HAS_NEG_INF = 4u;
// A sum of such items may leave the range of f32 although their mean does not.
const HAS_HUGE = 8u;
const HUGE_BITS = 0x6f800000u;  // 2^96
const SHRINK = 0x1p-64f;

// A partial sum high + low, times 2^64 where HAS_HUGE is set, of its finite items; `flags` tell of the others.
struct Record {
    high: f32,
    low: f32,
    flags: u32,
    invalid: u32,       // items whose target is out of range
    first_invalid: u32,
}

fn item_record(bits: u32, index: u32) -> Record {
    if (bits == BAD_BITS) {
        return Record(0.0, 0.0, HAS_NAN, 1u, index);
    }
    if (is_nan(bits)) {
        return Record(0.0, 0.0, HAS_NAN, 0u, NO_ITEM);
    }
    if (!is_finite(bits)) {
        return Record(0.0, 0.0, select(HAS_INF, HAS_NEG_INF, bits == NEG_INF_BITS), 0u, NO_ITEM);
    }
    if ((bits & ABS_BITS) >= HUGE_BITS) {
        return Record(bitcast<f32>(bits) * SHRINK, 0.0, HAS_HUGE, 0u, NO_ITEM);
    }
    return Record(bitcast<f32>(bits), 0.0, 0u, 0u, NO_ITEM);
}

const NO_ITEM = 0xffffffffu;

@compute @workgroup_size(WORKGROUP)
fn reduce(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    enter_group(workgroup.x, invocation);
    let end = min((workgroup.x + 1u) * u.frame.chunk, u.frame.item_count);
    let start = workgroup.x * u.frame.chunk + lane;
    // With one lane to a group, the workgroup's other invocations repeat nothing: they have no items.
    let active_end = select(0u, end, invocation < LANES);

    var flags = 0u;
    var invalid = 0u;
    var first_invalid = NO_ITEM;
    for (var i = start; i < active_end; i += LANES) {
        let item = read_item(i);
        flags |= item.flags;
        invalid += item.invalid;
        first_invalid = min(first_invalid, item.first_invalid);
    }
    flags = group_or(flags);
    invalid = group_sum_u(invalid);
    first_invalid = group_min_u(first_invalid);

    // Knuth's two-sum per lane, then a tree over the lanes.
    var high = 0.0;
    var low = 0.0;
    for (var i = start; i < active_end; i += LANES) {
        let item = read_item(i);
        let shrink = select(1.0, SHRINK, (flags & HAS_HUGE) != 0u && (item.flags & HAS_HUGE) == 0u);
        let x = item.high * shrink;
        let sum = launder(high + x);
        let part = launder(sum - high);
        low += (launder(high - launder(sum - part)) + launder(x - part)) + item.low * shrink;
        high = sum;
    }
    high = group_sum(high);
    low = group_sum(low);
    if (invocation != 0u) {
        return;
    }
    let total = Record(high, low, flags, invalid, first_invalid);
    if (workgroups.x == 1u) {
        finish(total);
    } else {
        let at = RECORDS_AT + workgroup.x * RECORD_WORDS;
        work[at] = bitcast<u32>(high);
        work[at + 1u] = bitcast<u32>(low);
        work[at + 2u] = flags;
        work[at + 3u] = invalid;
        work[at + 4u] = first_invalid;
    }
}

fn finish(total: Record) {
    let sum = total.high + total.low;
    if (COUNTING) {
        work[0] = total_bits(total.flags, sum, 1.0);
        return;
    }
    work[1] = total.invalid;
    work[2] = total.first_invalid;
    work[3] = 0u;
    if (total.invalid > 0u) {
        work[3] = values[min(total.first_invalid, arrayLength(&values) - 1u)];
    }
    if (REDUCED) {
        var denominator = u.frame.denominator;
        if (COUNTED) {
            denominator = bitcast<f32>(work[0]);
        }
        loss[0] = total_bits(total.flags, sum, denominator);
    }
}

// The bits of sum / denominator.
fn total_bits(flags: u32, sum: f32, denominator: f32) -> u32 {
    if ((flags & HAS_NAN) != 0u || (flags & (HAS_INF | HAS_NEG_INF)) == (HAS_INF | HAS_NEG_INF)) {
        return NAN_BITS;
    }
    let negative = denominator < 0.0;
    if ((flags & (HAS_INF | HAS_NEG_INF)) != 0u) {
        return select(INF_BITS, NEG_INF_BITS, ((flags & HAS_NEG_INF) != 0u) != negative);
    }
    if (denominator == 0.0) {
        return select(select(INF_BITS, NEG_INF_BITS, sum < 0.0), u.frame.empty, sum == 0.0);
    }
    let quotient = sum / denominator;
    if ((flags & HAS_HUGE) == 0u) {
        return bitcast<u32>(quotient);
    }
    if (abs(quotient) >= 0x1p+64f) {
        return select(INF_BITS, NEG_INF_BITS, quotient < 0.0);
    }
    return bitcast<u32>(quotient * 0x1p+64f);
}
