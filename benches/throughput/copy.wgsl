// A copy by 16 bytes: the bandwidth that everything else is compared with.
//
//   source, destination   (vectors)
//
// A workgroup copies SPAN vectors from SPACING times its number on, STEP apart for one invocation. Spans of their own make it one
// contiguous chunk per workgroup; a span that never ends makes it a stride over the whole grid.

override LANES: u32;
override SPACING: u32;
override SPAN: u32;
override STEP: u32;

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4<u32>>;

@compute @workgroup_size(LANES)
fn copy(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = workgroup.x * SPACING;
    let end = min(start + SPAN, arrayLength(&source));
    for (var i = start + lane; i < end; i += STEP) {
        destination[i] = source[i];
    }
}
