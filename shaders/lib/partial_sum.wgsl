// Partial sums that several invocations, workgroups and dispatches pass on to each other.

const SUMS_AT = 8u;
const SUM_WORDS = 8u;

const HAS_NAN = 1u;
const HAS_INF = 2u;
const HAS_NEG_INF = 4u;
// A sum of such items may leave the range of f32 although their mean does not.
const HAS_HUGE = 8u;
// Some item is not 0.
const HAS_COUNTS = 16u;
const HUGE_BITS = 0x6f800000u;  // 2^96
const SCALE = 0x1p-64f;
const NO_ITEM = 0xffffffffu;

// A sum hi + lo of finite items, times 2^64 where HAS_HUGE is set; `flags` tell of the other items.
struct PartialSum {
    hi: f32,
    lo: f32,
    flags: u32,
    invalid: u32,       // items whose input or target is out of range
    first_invalid: u32,
}

fn empty_sum() -> PartialSum {
    return PartialSum(0.0, 0.0, 0u, 0u, NO_ITEM);
}

fn sum_of_item(bits: u32, index: u32) -> PartialSum {
    let value = bitcast<f32>(select(0u, bits, is_finite(bits)));
    let is_huge = (bits & ABS_BITS) >= HUGE_BITS;
    let infinity = select(HAS_INF, HAS_NEG_INF, bits == NEG_INF_BITS);
    let flags = select(select(select(0u, HAS_HUGE, is_huge), infinity, !is_finite(bits)), HAS_NAN, is_nan(bits));
    let is_invalid = bits == BAD_BITS;
    return PartialSum(
        select(value, value * SCALE, is_huge), 0.0, flags, select(0u, 1u, is_invalid), select(NO_ITEM, index, is_invalid),
    );
}

// What two partial sums tell besides their sums.
fn merge_flags(a: PartialSum, b: PartialSum) -> PartialSum {
    return PartialSum(a.hi, a.lo, a.flags | b.flags, a.invalid + b.invalid, min(a.first_invalid, b.first_invalid));
}

// a's sum plus x: Knuth's two-sum, and hi takes over what it can hold of lo and of what was lost. Each term then costs 2^-48 of the
// sum; of equal terms the losses are equal too, and added up in lo they would drift as a plain sum does.
fn add_value(a: PartialSum, x: f32) -> PartialSum {
    let sum = opaque(a.hi + x);
    let part = opaque(sum - a.hi);
    let lost = opaque(a.hi - opaque(sum - part)) + opaque(x - part);
    let rest = opaque(a.lo + lost);
    let hi = opaque(sum + rest);
    return PartialSum(hi, rest - opaque(hi - sum), a.flags, a.invalid, a.first_invalid);
}

// a's sum plus b's, where the sum is kept shrunk if `scaled`.
fn add_sums(a: PartialSum, b: PartialSum, scaled: bool) -> PartialSum {
    let factor = select(1.0, SCALE, scaled & ((b.flags & HAS_HUGE) == 0u));
    var sum = add_value(a, b.hi * factor);
    sum.lo += b.lo * factor;
    return sum;
}

// a plus b, and what they tell.
fn collect(a: PartialSum, b: PartialSum, scaled: bool) -> PartialSum {
    return add_sums(merge_flags(a, b), b, scaled);
}

// Over the lanes of the group, all of whose sums are equally shrunk, and whose flags are these. It is rounded as often as the tree of
// lanes has levels: 10 times for 256 lanes. Where nobody `reports` invalid items, they are not counted.
fn join_sums(lane_sum: PartialSum, flags: u32, reports: bool) -> PartialSum {
    var sum = PartialSum(group_sum(lane_sum.hi), group_sum(lane_sum.lo), flags, 0u, NO_ITEM);
    if (reports) {
        sum.invalid = group_sum_u(lane_sum.invalid);
        sum.first_invalid = group_min_u(lane_sum.first_invalid);
    }
    return sum;
}

fn sum_words(sum: PartialSum) -> array<u32, 5> {
    return array<u32, 5>(
        bitcast<u32>(sum.hi), bitcast<u32>(sum.lo), sum.flags, sum.invalid, sum.first_invalid);
}
