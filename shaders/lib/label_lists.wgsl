// Lists of class indices as targets: the labels of a row, ended by the first -1.

const END = 0xffffffffu;
// In place of the count of class 0: some label of the row is out of range.
const BAD_LIST = 0xffffffffu;

// Four labels of the list from place k on; END past the row.
fn labels_from(at: u32, k: u32) -> vec4<u32> {
    return select(target_values(at, vec4<u32>(k) + IN_FOUR), vec4<u32>(END), vec4<u32>(k) + IN_FOUR >= vec4<u32>(u.dispatch.classes));
}
