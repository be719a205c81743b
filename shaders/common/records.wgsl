// Partial sums that several invocations, workgroups and dispatches pass on to each other.

const RECORDS_AT = 8u;
const RECORD_WORDS = 8u;

const HAS_NAN = 1u;
const HAS_INF = 2u;
const HAS_NEG_INF = 4u;
// A sum of such items may leave the range of f32 although their mean does not.
const HAS_HUGE = 8u;
const HUGE_BITS = 0x6f800000u;  // 2^96
const SHRINK = 0x1p-64f;
const NO_ITEM = 0xffffffffu;

// A sum high + low of finite items, times 2^64 where HAS_HUGE is set; `flags` tell of the other items.
struct Record {
    high: f32,
    low: f32,
    flags: u32,
    invalid: u32,       // items whose input or target is out of range
    first_invalid: u32,
}

fn empty_record() -> Record {
    return Record(0.0, 0.0, 0u, 0u, NO_ITEM);
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

// What two records tell besides their sums.
fn merge_notes(a: Record, b: Record) -> Record {
    return Record(a.high, a.low, a.flags | b.flags, a.invalid + b.invalid, min(a.first_invalid, b.first_invalid));
}

// Knuth's two-sum of a's sum and x.
fn add_to(a: Record, x: f32) -> Record {
    let sum = launder(a.high + x);
    let part = launder(sum - a.high);
    let lost = launder(a.high - launder(sum - part)) + launder(x - part);
    return Record(sum, a.low + lost, a.flags, a.invalid, a.first_invalid);
}

// a's sum plus b's, where the sum is kept shrunk if `shrink`.
fn add_sums(a: Record, b: Record, shrink: bool) -> Record {
    let factor = select(1.0, SHRINK, shrink && (b.flags & HAS_HUGE) == 0u);
    var sum = add_to(a, b.high * factor);
    sum.low += b.low * factor;
    return sum;
}

// Over the lanes of the group, all of whose sums are equally shrunk.
fn join_records(lane_record: Record) -> Record {
    return Record(
        group_sum(lane_record.high),
        group_sum(lane_record.low),
        group_or(lane_record.flags),
        group_sum_u(lane_record.invalid),
        group_min_u(lane_record.first_invalid),
    );
}

fn record_words(record: Record) -> array<u32, 5> {
    return array<u32, 5>(
        bitcast<u32>(record.high), bitcast<u32>(record.low), record.flags, record.invalid, record.first_invalid);
}
