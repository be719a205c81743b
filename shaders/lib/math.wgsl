// Elementary functions to the crate's accuracy, where WGSL's own promise too little.
//
// WGSL lets a compiler reassociate float arithmetic and assume that NaN and infinity do not exist. Two habits follow:
// - `opaque` passes a value through an integer xor with a run-time zero, so that (a - b) + c stays as written;
// - NaN and infinity are recognised and produced as bits, never by a float operation.

const ABS_BITS = 0x7fffffffu;
const INF_BITS = 0x7f800000u;
const NEG_INF_BITS = 0xff800000u;
const NAN_BITS = 0x7fc00000u;
// A NaN that no arithmetic makes: "the target of this item is outside its range".
const BAD_BITS = 0x7fc00badu;

fn opaque(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ zero);
}

fn opaque4(v: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) ^ vec4<u32>(zero));
}

fn is_nan(bits: u32) -> bool {
    return (bits & ABS_BITS) > INF_BITS;
}

fn is_finite(bits: u32) -> bool {
    return (bits & ABS_BITS) < INF_BITS;
}

// A float to compute with in place of bits that may be -inf: the lowest finite value. (NaN and +inf pass; whoever calls
// this has flagged them and overwrites what is computed from them.)
fn ordinary4(bits: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(min(bits, vec4<u32>(0xff7fffffu)));
}

fn ordinary(bits: u32) -> f32 {
    return bitcast<f32>(min(bits, 0xff7fffffu));
}

// exp(2 h): lib/exp/.
fn exp_twice(h: f32) -> f32 {
    return exp_twice4(vec4<f32>(h)).x;
}

// tanh, relative accuracy for small v included.
fn tanh4(v: vec4<f32>) -> vec4<f32> {
    let e = exp_twice4(-abs(v));
    let z = v * v;
    let series = v - v * z * (0.333333333 - z * (0.133333333 - z * (0.053968254 - z * (0.021869489 - z * 0.0088632355))));
    return select(sign(v) * ((1.0 - e) / (1.0 + e)), series, z < vec4<f32>(0.0625));
}

// a - b exactly: the rounded difference and what rounding took from it (Knuth's two-sum).
struct Difference4 {
    rounded: vec4<f32>,
    rest: vec4<f32>,
}

fn exact_difference4(a: vec4<f32>, b: vec4<f32>) -> Difference4 {
    let rounded = opaque4(a - b);
    let minus_b = opaque4(rounded - a);
    let rest_of_a = opaque4(a - opaque4(rounded - minus_b));
    return Difference4(rounded, rest_of_a - opaque4(b + minus_b));
}

// exp t - 1 - t for t in [-1, 1], relative accuracy for small t included: t^2 p(t), where p is the polynomial of degree 6 whose largest
// relative error is least: 8.5e-8.
fn expm1_rest4(t: vec4<f32>) -> vec4<f32> {
    var p = t * 2.49609005e-5 + 2.03254816e-4;
    p = p * t + 0.00138913339;
    p = p * t + 0.00833093052;
    p = p * t + 0.0416665157;
    p = p * t + 0.166666962;
    p = p * t + 0.50000001;
    return (t * t) * p;
}

// Where log(1 + f) = 2 atanh s with s = f / (2 + f), the r of 2 atanh s = 2s (1 + r), for s^2 <= 1/9: z p(z) with z = s^2, where p is
// the polynomial of degree 3 whose largest relative error is least: 4.5e-9.
fn atanh_rest4(s: vec4<f32>) -> vec4<f32> {
    let z = s * s;
    var p = z * 0.14005993 + 0.14000903;
    p = p * z + 0.20010764;
    p = p * z + 0.33333208;
    return z * p;
}

// log(1 + f) for f in [-0.3, 1], 2e-7 relative.
fn log1p_series4(f: vec4<f32>) -> vec4<f32> {
    let s = f / (2.0 + f);
    return 2.0 * s + 2.0 * s * atanh_rest4(s);
}

// (1 + f) log(1 + f) - f for f in [-0.3, 1], which is about f^2 / 2, with relative accuracy. With 1 + f = (1 + s) / (1 - s) and
// f = 2s / (1 - s) it is 2s ((1 + s) (1 + r) - 1) / (1 - s) = f (s + (1 + s) r).
fn x_log_x_rest4(f: vec4<f32>) -> vec4<f32> {
    let s = f / (2.0 + f);
    return f * (s + (1.0 + s) * atanh_rest4(s));
}

// log(1 + f) for f in [0, 1] without a division: f + f^2 p(f), 1.5e-7 relative. p follows from the polynomial of degree 9 whose largest
// relative error is least: 4.7e-9.
fn log1p_unit(f: f32) -> f32 {
    var p = f * -0.00324402518 + 0.0198514623;
    p = p * f - 0.0569595341;
    p = p * f + 0.106036549;
    p = p * f - 0.153055925;
    p = p * f + 0.196759392;
    p = p * f - 0.249541337;
    p = p * f + 0.333299624;
    p = p * f - 0.499999024;
    return f + (f * f) * p;
}

// The same for f in [-0.293, 0.415], what mantissas between sqrt(1/2) and sqrt 2 leave: 1.2e-7.
fn log1p_mantissa4(f: vec4<f32>) -> vec4<f32> {
    var p = f * -0.0762297676 + 0.129068876;
    p = p * f - 0.132438332;
    p = p * f + 0.141815333;
    p = p * f - 0.166089366;
    p = p * f + 0.200019808;
    p = p * f - 0.250015898;
    p = p * f + 0.333333258;
    p = p * f - 0.499999883;
    return f + (f * f) * p;
}

fn log1p_mantissa(f: f32) -> f32 {
    return log1p_mantissa4(vec4<f32>(f)).x;
}

// log(v + lost) for normal v > 0, where `lost` is less than half of its last digit: the mantissa is brought to [sqrt(1/2), sqrt 2) through
// the bits.
fn ln_of_sum4(v: vec4<f32>, lost: vec4<f32>) -> vec4<f32> {
    let shifted = bitcast<vec4<u32>>(v) - vec4<u32>(0x3f3504f3u);
    let k = bitcast<vec4<i32>>(shifted) >> vec4<u32>(23u);
    let m = bitcast<vec4<f32>>((shifted & vec4<u32>(0x007fffffu)) + vec4<u32>(0x3f3504f3u));
    // 2^-k, 0 for the largest k.
    let scale = bitcast<vec4<f32>>(bitcast<vec4<u32>>(vec4<i32>(127) - min(k, vec4<i32>(127))) << vec4<u32>(23u));
    // Two halves of ln 2: k * 0.693359375 is exact.
    let exponent = vec4<f32>(k);
    return exponent * 0.693359375 + (log1p_mantissa4((m - 1.0) + lost * scale) - exponent * 2.12194440e-4);
}

// log v for normal v > 0.
fn ln4(v: vec4<f32>) -> vec4<f32> {
    return ln_of_sum4(v, vec4<f32>(0.0));
}

fn ln(v: f32) -> f32 {
    return ln4(vec4<f32>(v)).x;
}

// log(1 + v) for v >= 0, relative accuracy for tiny v included.
fn log1p(v: f32) -> f32 {
    let sum = opaque(1.0 + v);
    return ln_of_sum4(vec4<f32>(sum), vec4<f32>(v - (sum - 1.0))).x;
}

// The bits of 2 h, NaN for NaN and +-inf where that leaves the range of f32.
fn twice_bits(h: f32) -> u32 {
    let magnitude = bitcast<u32>(h) & ABS_BITS;
    let sign = bitcast<u32>(h) & 0x80000000u;
    if (magnitude > INF_BITS) {
        return NAN_BITS;
    }
    return select(bitcast<u32>(h + h), sign | INF_BITS, magnitude >= 0x7f000000u);
}

// log v for v >= 0 given as bits, subnormal v included; no use for v = 0.
fn ln_bits4(bits: vec4<u32>) -> vec4<f32> {
    // A subnormal is its bits times 2^-149.
    let subnormal = bits < vec4<u32>(0x00800000u);
    let v = select(bitcast<vec4<f32>>(bits), vec4<f32>(max(bits, vec4<u32>(1u))), subnormal);
    return ln4(v) - select(vec4<f32>(0.0), vec4<f32>(103.27893), subnormal);
}

fn ln_bits(bits: u32) -> f32 {
    return ln_bits4(vec4<u32>(bits)).x;
}

// exp v for finite v; +inf as the hardware makes it above the range.
fn exp_any(v: f32) -> f32 {
    let root = exp_twice(0.25 * min(v, 100.0));
    return select(exp_twice(0.5 * min(v, 80.0)), root * root, v > 80.0);
}

// v^g for g in 0, 1, .. 7.
fn whole_power4(v: vec4<f32>, g: u32) -> vec4<f32> {
    let one = vec4<f32>(1.0);
    let square = v * v;
    return select(one, v, (g & 1u) != 0u) * select(one, square, (g & 2u) != 0u) * select(one, square * square, (g & 4u) != 0u);
}

fn whole_power(v: f32, g: u32) -> f32 {
    return whole_power4(vec4<f32>(v), g).x;
}

// v^g for v in [0, 1], g >= 0: the whole part of g by multiplication while it is small, the rest through exp and log.
fn unit_power4(v: vec4<f32>, g: f32) -> vec4<f32> {
    let whole = min(floor(g), 7.0);
    var result = whole_power4(v, u32(whole));
    let rest = g - whole;
    if (rest > 0.0) {
        let part = select(exp_twice4(0.5 * rest * ln_bits4(bitcast<vec4<u32>>(v))), sqrt(v), rest == 0.5);
        result *= select(part, vec4<f32>(0.0), v <= vec4<f32>(0.0));
    }
    return result;
}

fn unit_power(v: f32, g: f32) -> f32 {
    return unit_power4(vec4<f32>(v), g).x;
}
