// Rows that count for nothing whatever they hold, as if they were ignored: those that are masked, and those that weigh 0.

fn is_excluded(row: u32) -> bool {
    return is_masked(row) | (HAS_SAMPLE_WEIGHT & ((bitcast<u32>(sample_weight_of(row)) & ABS_BITS) == 0u));
}
