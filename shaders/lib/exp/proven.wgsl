// The exponential of adapters whose exp2 has been seen to be accurate to 4e-7, and whose fma to be rounded once (shaders/prove/).

// exp(2 h) for 2 h <= 88; 0 or subnormal below exp(-88). 2h log2 e is t + low, where t is rounded and `low` what that lost; so the result is
// 2^t (1 + low ln 2). The constant's own rounding leaves an error of 2h 1.3e-8: with that of exp2, 1.5e-6 relative at exp(-80).
fn exp_twice4(h: vec4<f32>) -> vec4<f32> {
    let scale = vec4<f32>(2.885390082);
    // Far below, where a difference of huge logits would leave the range of f32, 2^t is 0.
    let a = max(h, vec4<f32>(-1048576.0));
    let t = a * scale;
    let low = fma(a, scale, -t);
    let power = exp2(t);
    return fma(power * low, vec4<f32>(0.693147181), power);
}
