// Copies by 16 bytes: the bandwidth that everything else is compared with.
//
//   source, destination   (vectors)

override LANES: u32;
// Workgroups along x.
override GRID_X: u32;
// Vectors that a workgroup of `chunks` copies.
override SPAN: u32;

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4<u32>>;

// A vector per invocation: nothing is faster where many invocations are in flight.
@compute @workgroup_size(LANES)
fn each(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * GRID_X + workgroup.x) * LANES + lane;
    if (i < arrayLength(&source)) {
        destination[i] = source[i];
    }
}

// One contiguous chunk per workgroup: for a few invocations that are in truth the lanes of a CPU.
@compute @workgroup_size(LANES)
fn chunks(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = (workgroup.y * GRID_X + workgroup.x) * SPAN;
    let end = min(start + SPAN, arrayLength(&source));
    for (var i = start + lane; i < end; i += LANES) {
        destination[i] = source[i];
    }
}

// Reads alone. A vector that may be stored must be loaded; logits of these bits are NaN, which no input here holds.
@compute @workgroup_size(LANES)
fn reading(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * GRID_X + workgroup.x) * LANES + lane;
    if (i < arrayLength(&source)) {
        let vector = source[i];
        if (all(vector == vec4(0xffffffffu))) {
            destination[i] = vector;
        }
    }
}
