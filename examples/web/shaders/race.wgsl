// K networks of one size, trained on the same batches: (x, 1) V -> h = relu(a), (h, 1) W -> logits. Between `logits_of` and
// `hidden_gradient` stands a loss, which writes `dlogits`. race/network.rs does the same on the CPU.
//
// Every invocation makes one value and adds in a fixed order, so that the same race gives the same bits.

const PIXELS = 64u;
const CLASSES = 10u;
const BINS = 10u;
override HIDDEN: u32;                                                       // H
override NETWORKS: u32;                                                     // K

// Weights of a network: V (PIXELS + 1, H), then W (H + 1, CLASSES); the last row of each is the bias.
override V_SIZE: u32 = (PIXELS + 1) * HIDDEN;
override SIZE: u32 = V_SIZE + (HIDDEN + 1) * CLASSES;

struct Descent { rate: f32, momentum: f32 }

@group(0) @binding(0) var<storage, read_write> x: array<f32>;               // (N, PIXELS)
@group(0) @binding(1) var<storage, read_write> hidden: array<f32>;          // (K, N, H)
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;          // (K, N, CLASSES)
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;         // (K, SIZE)
@group(0) @binding(4) var<storage, read_write> velocity: array<f32>;        // (K, SIZE)
@group(0) @binding(5) var<storage, read> dlogits: array<f32>;               // (K, N, CLASSES)
@group(0) @binding(6) var<storage, read_write> da: array<f32>;              // (K, N, H)
@group(0) @binding(7) var<uniform> descent: Descent;

@group(0) @binding(8) var<storage, read> batch: array<u32>;                 // (N): training samples of this step
@group(0) @binding(9) var<storage, read> images: array<f32>;                // (samples, PIXELS)
@group(0) @binding(10) var<storage, read> labels: array<i32>;               // (samples)
@group(0) @binding(11) var<storage, read> answers: array<f32>;              // (samples, CLASSES): the teacher's logits
@group(0) @binding(12) var<storage, read_write> batch_labels: array<i32>;   // (N)
@group(0) @binding(13) var<storage, read_write> batch_answers: array<f32>;  // (N, CLASSES)

@group(0) @binding(14) var<storage, read_write> verdicts: array<vec4f>;     // (K, N)
@group(0) @binding(15) var<storage, read_write> tallies: array<f32>;        // (K, CLASSES + 3 BINS + 1)

// The images, labels and teacher's answers of a batch. One invocation per pixel.
@compute @workgroup_size(64)
fn gather(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arrayLength(&x)) { return; }
    let n = id.x / PIXELS;
    let pixel = id.x % PIXELS;
    let sample = batch[n];
    x[id.x] = images[sample * PIXELS + pixel];
    if (pixel < CLASSES) { batch_answers[n * CLASSES + pixel] = answers[sample * CLASSES + pixel]; }
    if (pixel == 0) { batch_labels[n] = labels[sample]; }
}

// h = relu((x, 1) V)
@compute @workgroup_size(64)
fn hidden_of(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arrayLength(&hidden)) { return; }
    let rows = arrayLength(&x) / PIXELS;
    let h = id.x % HIDDEN;
    let n = id.x / HIDDEN % rows;
    let v = id.x / HIDDEN / rows * SIZE;
    var sum = weights[v + PIXELS * HIDDEN + h];
    for (var i = 0u; i < PIXELS; i++) { sum += x[n * PIXELS + i] * weights[v + i * HIDDEN + h]; }
    hidden[id.x] = max(sum, 0.0);
}

// logits = (h, 1) W
@compute @workgroup_size(64)
fn logits_of(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arrayLength(&logits)) { return; }
    let rows = arrayLength(&hidden) / (HIDDEN * NETWORKS);
    let c = id.x % CLASSES;
    let row = id.x / CLASSES;
    let w = row / rows * SIZE + V_SIZE;
    var sum = weights[w + HIDDEN * CLASSES + c];
    for (var h = 0u; h < HIDDEN; h++) { sum += hidden[row * HIDDEN + h] * weights[w + h * CLASSES + c]; }
    logits[id.x] = sum;
}

// da = dlogits W^T where a > 0
@compute @workgroup_size(64)
fn hidden_gradient(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arrayLength(&da)) { return; }
    let rows = arrayLength(&hidden) / (HIDDEN * NETWORKS);
    let h = id.x % HIDDEN;
    let row = id.x / HIDDEN;
    let w = row / rows * SIZE + V_SIZE + h * CLASSES;
    var sum = 0.0;
    for (var c = 0u; c < CLASSES; c++) { sum += dlogits[row * CLASSES + c] * weights[w + c]; }
    da[id.x] = select(0.0, sum, hidden[id.x] > 0.0);
}

// velocity <- momentum velocity + gradient, weight <- weight - rate velocity, where the gradient is dV = (x, 1)^T da or
// dW = (h, 1)^T dlogits. One invocation per weight.
@compute @workgroup_size(64)
fn descend(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arrayLength(&weights)) { return; }
    let rows = arrayLength(&x) / PIXELS;
    let first = id.x / SIZE * rows;
    let at = id.x % SIZE;
    var gradient = 0.0;
    if (at < V_SIZE) {
        let i = at / HIDDEN;
        let h = at % HIDDEN;
        for (var n = 0u; n < rows; n++) {
            var input = 1.0;
            if (i < PIXELS) { input = x[n * PIXELS + i]; }
            gradient += input * da[(first + n) * HIDDEN + h];
        }
    } else {
        let h = (at - V_SIZE) / CLASSES;
        let c = (at - V_SIZE) % CLASSES;
        for (var n = 0u; n < rows; n++) {
            var input = 1.0;
            if (h < HIDDEN) { input = hidden[(first + n) * HIDDEN + h]; }
            gradient += input * dlogits[(first + n) * CLASSES + c];
        }
    }
    let v = descent.momentum * velocity[id.x] + gradient;
    velocity[id.x] = v;
    weights[id.x] -= descent.rate * v;
}

// What a network says of a held-out image: the class with the largest logit, its probability, whether that is right, and -log of the
// probability of the right one. One invocation per row of logits.
@compute @workgroup_size(64)
fn judge(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arrayLength(&verdicts)) { return; }
    let at = id.x * CLASSES;
    let label = u32(labels[id.x % arrayLength(&labels)]);
    var best = 0u;
    for (var c = 1u; c < CLASSES; c++) {
        if (logits[at + c] > logits[at + best]) { best = c; }
    }
    var sum = 0.0;
    for (var c = 0u; c < CLASSES; c++) { sum += exp(logits[at + c] - logits[at + best]); }
    let surprise = log(sum) - (logits[at + label] - logits[at + best]);
    verdicts[id.x] = vec4f(f32(best), 1.0 / sum, select(0.0, 1.0, best == label), surprise);
}

// What the page shows of each network: how many of each digit are right; of each tenth of confidence how many images, how many of them
// right, and their confidences added; and the surprise of all images added. One invocation per number.
@compute @workgroup_size(64)
fn tally(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arrayLength(&tallies)) { return; }
    let rows = arrayLength(&labels);
    let numbers = CLASSES + 3 * BINS + 1;
    let first = id.x / numbers * rows;
    let number = id.x % numbers;
    var sum = 0.0;
    for (var n = 0u; n < rows; n++) {
        let verdict = verdicts[first + n];
        if (number < CLASSES) {
            if (u32(labels[n]) == number) { sum += verdict.z; }
        } else if (number < CLASSES + 3 * BINS) {
            let bin = min(u32(verdict.y * f32(BINS)), BINS - 1);
            if (bin == (number - CLASSES) % BINS) {
                switch (number - CLASSES) / BINS {
                    case 0u: { sum += 1.0; }
                    case 1u: { sum += verdict.z; }
                    default: { sum += verdict.y; }
                }
            }
        } else {
            sum += verdict.w;
        }
    }
    tallies[id.x] = sum;
}
