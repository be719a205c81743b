// The exponential of adapters that are not known to do more than WGSL promises.

// exp(2 h) for 2 h <= 88, 1.2 ULP; exactly 0 below exp(-88).
// Half the argument, because the difference of two finite floats may overflow while half of it cannot.
// Cody-Waite: 2h = k ln 2 + 2r with ln 2 / 2 = 355/1024 - 1.0609722e-4 (k * 355/1024 is exact), then
// 1 + 2r + r^2 q(r), where q is the polynomial of degree 4 whose largest relative error on |r| <= ln 2 / 4 is least: 3.1e-9.
fn exp_twice4(h: vec4<f32>) -> vec4<f32> {
    // At the bound k is -127.
    let a = max(h, vec4<f32>(-44.0));
    let k = round(a * 2.885390082);
    let r = opaque4(a - k * 0.3466796875) + k * 1.06097220e-4;
    var q = r * 0.088413057 + 0.26779984;
    q = q * r + 0.66669425;
    q = q * r + 1.3333216;
    q = q * r + 1.9999997;
    let mantissa = (q * r + 2.0) * r + 1.0;
    // 2^k: k + 127 ends up in the lowest bits of 2^23 + 2^22 + 127 + k, which is exact; k = -127 gives bits 0, the float 0.
    return mantissa * bitcast<vec4<f32>>(bitcast<vec4<u32>>(k + 12583039.0) << vec4<u32>(23u));
}
