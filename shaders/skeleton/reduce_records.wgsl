// Source of a reduction: the records that an earlier dispatch of it left, one per workgroup.

const BY_EIGHTS = false;

fn read_eight(i: u32) -> Pair {
    return Pair(vec4<u32>(0u), vec4<u32>(0u));
}

fn read_item(i: u32) -> Record {
    let at = RECORDS_AT + i * RECORD_WORDS;
    return Record(bitcast<f32>(work[at]), bitcast<f32>(work[at + 1u]), work[at + 2u], work[at + 3u], work[at + 4u]);
}
