//! The scalar types of the CPU path, and elementary functions for them: the standard library's in f64, and in f32 the
//! branch-free polynomials of lib/math.wgsl, which a compiler turns into vector code and which give the same bits on
//! every machine.

use std::f32::consts::LOG2_E;

use ndarray::NdFloat;

use super::lanes::Vectors;
use crate::tensors::Element;

/// The scalar types of the reference. Functions are named as in lib/math.wgsl.
pub trait Real: NdFloat + Element<Scalar = Self> + Vectors {
    /// Rounds an `f64` to this type.
    fn of(value: f64) -> Self;
    /// As an `f64`, exactly.
    fn wide(self) -> f64;
    /// exp v.
    fn exp_any(self) -> Self;
    /// exp 2h for h <= 0: of a difference halved, because the difference itself may overflow.
    fn exp_twice(self) -> Self;
    /// exp v - 1, relative accuracy for small v included.
    fn expm1(self) -> Self;
    /// exp v - 1 - v for v in [-1, 1], likewise.
    fn expm1_rest(self) -> Self;
    /// log v.
    fn log_any(self) -> Self;
    /// log(1 + v), relative accuracy for small v included.
    fn log1p(self) -> Self;
    /// [`log1p`](Self::log1p) of v in [0, 1].
    fn log1p_series(self) -> Self;
    /// (1 + v) log(1 + v) - v for v in [-0.3, 0.5], which is about v^2 / 2, with relative accuracy.
    fn x_log_x_rest(self) -> Self;
    /// v^g for v in [0, 1] and g >= 0.
    fn unit_power(self, g: Self) -> Self;
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp_any(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn exp_twice(self) -> Self {
        (self + self).exp()
    }
    #[inline(always)]
    fn expm1(self) -> Self {
        self.exp_m1()
    }
    #[inline(always)]
    fn expm1_rest(self) -> Self {
        // v^2 / 2 (1 + v / 3 (1 + v / 4 (..))): 1 / 20! is left out.
        let series = (3..=20).rev().fold(1.0, |rest, n| 1.0 + self / f64::from(n) * rest);
        0.5 * self * self * series
    }
    #[inline(always)]
    fn log_any(self) -> Self {
        self.ln()
    }
    #[inline(always)]
    fn log1p(self) -> Self {
        self.ln_1p()
    }
    #[inline(always)]
    fn log1p_series(self) -> Self {
        self.ln_1p()
    }
    #[inline(always)]
    fn x_log_x_rest(self) -> Self {
        // 2 atanh s = 2s (1 + r), r = s^2 / 3 + s^4 / 5 + ..: 0.2^32 is left out.
        let s = self / (2.0 + self);
        let r = (1..=16).rev().fold(0.0, |rest, n| s * s * (1.0 / f64::from(2 * n + 1) + rest));
        self * (s + (1.0 + s) * r)
    }
    #[inline(always)]
    fn unit_power(self, g: Self) -> Self {
        self.powf(g)
    }
}

/// ln 2 in two parts; a whole number of at most 15 bits times the first is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn exp_any(self) -> Self {
        let (p, [a, b]) = exp_parts(self);
        (1.0 + p) * a * b
    }

    #[inline(always)]
    fn exp_twice(self) -> Self {
        // Below this bound the result is 0; NaN passes.
        let h = if self < -52.0 { -52.0 } else { self };
        let (p, bits) = exp_series(h);
        // A small result is rounded once, when it has become 2^-64 times what it was.
        (1.0 + p) * Self::from_bits(bits << 23) * Self::from_bits((127 - 64) << 23)
    }

    #[inline(always)]
    fn expm1(self) -> Self {
        let (p, [a, b]) = exp_parts(self);
        let power = a * b;
        // In the first form a large power would be infinite, and inf - inf.
        if self > 80.0 { (1.0 + p) * a * b } else { power * p + (power - 1.0) }
    }

    #[inline(always)]
    fn expm1_rest(self) -> Self {
        let mut p = self * 2.496_09e-5 + 2.032_548_2e-4;
        p = p * self + 1.389_133_4e-3;
        p = p * self + 8.330_931e-3;
        p = p * self + 0.041_666_515;
        p = p * self + 0.166_666_95;
        p = p * self + 0.5;
        self * self * p
    }

    #[inline(always)]
    fn log_any(self) -> Self {
        // A subnormal is brought into the range of normal numbers first.
        let tiny = self < Self::MIN_POSITIVE;
        let (v, k) = if tiny { (self * 8_388_608.0, -23.0) } else { (self, 0.0) };
        log_normal(v, k, 0.0)
    }

    #[inline(always)]
    fn log1p(self) -> Self {
        // What 1 + v rounds away: exact, whichever of the two is larger.
        let v = 1.0 + self;
        let lost = if self < 1.0 { self - (v - 1.0) } else { 1.0 - (v - self) };
        log_normal(v, 0.0, lost / v)
    }

    #[inline(always)]
    fn log1p_series(self) -> Self {
        // From 3/2 on, of half of 1 + v, which is exact: a small logarithm has a small error, beside log 2 too.
        let large = self > 0.5;
        let log = log_near_one(if large { 0.5 * self - 0.5 } else { self });
        if large { log + std::f32::consts::LN_2 } else { log }
    }

    #[inline(always)]
    fn x_log_x_rest(self) -> Self {
        let s = self / (2.0 + self);
        self * (s + (1.0 + s) * (0.5 * atanh_rest(s * s)))
    }

    #[inline(always)]
    fn unit_power(self, g: Self) -> Self {
        let (v, square) = (self, self * self);
        let whole = g.floor().min(7.0);
        let bits = whole as u32;
        let odd = if bits & 1 != 0 { v } else { 1.0 };
        let twice = if bits & 2 != 0 { square } else { 1.0 };
        let result = odd * twice * if bits & 4 != 0 { square * square } else { 1.0 };
        let rest = g - whole;
        if rest == 0.0 {
            return result;
        }
        let part = if rest == 0.5 { v.sqrt() } else { (rest * v.log_any()).exp_any() };
        result * part
    }
}

/// Adding it rounds to a whole number, which then stands in the lowest bits.
const ROUNDS: f32 = 12_582_912.0;
/// Added to k, it makes of these bits the exponent of 2^(k + 64).
const BIAS: f32 = 127.0 + 64.0;

/// p and two powers of 2 with exp x = (1 + p) a b: results beyond the range of one power of 2 are rounded once, at the
/// end.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, [f32; 2]) {
    // Beyond these bounds the result is infinite, or 0; NaN passes both.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (p, bits) = exp_series(0.5 * x);
    let k = (bits as i32).wrapping_sub((ROUNDS + BIAS).to_bits() as i32);
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) << 23) as u32);
    (p, [power(k >> 1), power(k.wrapping_sub(k >> 1))])
}

/// p, and k + [`BIAS`] in the lowest 9 bits, with exp 2h = (1 + p) 2^k: the Cody-Waite reduction 2h = k ln 2 + 2r and
/// the polynomial for exp 2r of lib/math.wgsl.
#[inline(always)]
fn exp_series(h: f32) -> (f32, u32) {
    let shifted = h * (2.0 * LOG2_E) + (ROUNDS + BIAS);
    let k = shifted - (ROUNDS + BIAS);
    let r = (h - k * (0.5 * LN_2[0])) - k * (0.5 * LN_2[1]);
    let mut q = r * 0.088_413_06 + 0.267_799_84;
    q = q * r + 0.666_694_2;
    q = q * r + 1.333_321_6;
    q = q * r + 1.999_999_7;
    // 2r is exact: a small p keeps its digits.
    (q * (r * r) + (r + r), shifted.to_bits())
}

/// log(1 + f) for f in [-0.3, 0.5]: 2 atanh s with s = f / (2 + f), which is f - s (f - 2r). The last difference leaves f
/// its digits.
#[inline(always)]
fn log_near_one(f: f32) -> f32 {
    let s = f / (2.0 + f);
    f - s * (f - atanh_rest(s * s))
}

/// Twice the r of 2 atanh s = 2s (1 + r), given s^2 <= 1/9: twice atanh_rest4 of lib/math.wgsl.
#[inline(always)]
fn atanh_rest(z: f32) -> f32 {
    let mut p = z * 0.280_119_86 + 0.280_018_06;
    p = p * z + 0.400_215_28;
    p = p * z + 0.666_664_2;
    z * p
}

/// log v + k ln 2 + correction for normal v: the mantissa brought to [sqrt(1/2), sqrt 2) through the bits.
#[inline(always)]
fn log_normal(v: f32, k: f32, correction: f32) -> f32 {
    let shifted = v.to_bits().wrapping_sub(0x3f35_04f3);
    let k = k + (shifted as i32 >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff) + 0x3f35_04f3);
    let log = k * LN_2[0] + (log_near_one(m - 1.0) + (k * LN_2[1] + correction));
    let log = if v == 0.0 { f32::NEG_INFINITY } else { log };
    let log = if v == f32::INFINITY { v } else { log };
    // Also of NaN.
    if v >= 0.0 { log } else { f32::NAN }
}

/// max(z, 0), NaN for NaN.
#[inline(always)]
pub(crate) fn relu<F: Real>(z: F) -> F {
    if z <= F::zero() { F::zero() } else { z }
}

/// exp(-|z|).
#[inline(always)]
pub(crate) fn decay<F: Real>(z: F) -> F {
    (-(F::of(0.5) * z).abs()).exp_twice()
}

/// log(1 + exp z), finite for every finite z.
#[inline(always)]
pub(crate) fn softplus<F: Real>(z: F) -> F {
    relu(z) + decay(z).log1p_series()
}

/// 1 / (1 + exp(-z)), relative accuracy for very negative z included.
#[inline(always)]
pub(crate) fn sigmoid<F: Real>(z: F) -> F {
    let e = decay(z);
    (if z >= F::zero() { F::one() } else { e }) / (F::one() + e)
}

/// What a logit z costs where the target is 0: log(1 + exp z) and its derivative p = 1 / (1 + exp(-z)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logistic<F> {
    pub(crate) cost: F,
    pub(crate) p: F,
}

/// [`softplus`] and [`sigmoid`] of z and of -z, from one exponential.
#[inline(always)]
pub(crate) fn logistic<F: Real>(z: F) -> (Logistic<F>, Logistic<F>) {
    let e = decay(z);
    let rest = e.log1p_series();
    let large = F::one() / (F::one() + e);
    let small = e * large;
    let positive = z >= F::zero();
    (
        Logistic { cost: relu(z) + rest, p: if positive { large } else { small } },
        Logistic { cost: relu(-z) + rest, p: if positive { small } else { large } },
    )
}

/// tanh v, relative accuracy for small v included.
#[inline(always)]
pub(crate) fn tanh<F: Real>(v: F) -> F {
    let e = (-(v + v).abs()).expm1();
    let magnitude = -e / (F::one() + F::one() + e);
    if v < F::zero() { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::{Real, sigmoid, softplus, tanh};

    /// The largest distance in units in the last place of the exact result, over floats of every magnitude from one
    /// bound to the other.
    fn worst(from: f32, to: f32, got: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let sign = from.signum() * f32::from_bits(1 << 23 | 1).signum();
        let (first, last) = (from.abs().to_bits(), to.abs().to_bits());
        assert!(from.signum() == to.signum() && first < last);
        let ulps = (first..=last).step_by(997).map(|bits| {
            let v = sign * f32::from_bits(bits);
            let (got, exact) = (f64::from(got(v)), exact(f64::from(v)));
            let spacing = (exact.abs().log2().floor() - 23.0).max(-149.0).exp2();
            if exact as f32 == got as f32 { 0.0 } else { (got - exact).abs() / spacing }
        });
        ulps.fold(0.0, f64::max)
    }

    #[test]
    fn elementary_functions_are_accurate_to_the_last_places() {
        let softplus_exact = |v: f64| v.max(0.0) + (-v.abs()).exp().ln_1p();
        let sigmoid_exact = |v: f64| 1.0 / (1.0 + (-v).exp());
        let bounds = [
            ("exp, negative", worst(-0.0, -120.0, f32::exp_any, f64::exp), 1.3),
            ("exp, positive", worst(0.0, 88.7, f32::exp_any, f64::exp), 1.3),
            ("exp of twice the argument", worst(-0.0, -60.0, f32::exp_twice, |h| (h + h).exp()), 1.3),
            ("expm1, negative", worst(-0.0, -120.0, f32::expm1, f64::exp_m1), 2.0),
            ("expm1, positive", worst(0.0, 88.7, f32::expm1, f64::exp_m1), 2.0),
            ("log", worst(0.0, f32::MAX, f32::log_any, f64::ln), 1.0),
            ("log1p, positive", worst(0.0, f32::MAX, f32::log1p, f64::ln_1p), 1.5),
            ("log1p, negative", worst(-0.0, -0.999_999, f32::log1p, f64::ln_1p), 1.5),
            ("log1p, 0 to 1", worst(0.0, 1.0, f32::log1p_series, f64::ln_1p), 1.5),
            ("exp less its first terms", worst(1e-18, 1.0, f32::expm1_rest, f64::expm1_rest), 4.0),
            ("likewise, negative", worst(-1e-18, -1.0, f32::expm1_rest, f64::expm1_rest), 4.0),
            ("x log x less its first term", worst(1e-18, 0.5, f32::x_log_x_rest, f64::x_log_x_rest), 4.0),
            ("likewise, negative", worst(-1e-18, -0.3, f32::x_log_x_rest, f64::x_log_x_rest), 4.0),
            ("softplus, positive", worst(0.0, 1e4, softplus, softplus_exact), 1.5),
            ("softplus, negative", worst(-0.0, -120.0, softplus, softplus_exact), 3.0),
            ("sigmoid, positive", worst(0.0, 1e4, sigmoid, sigmoid_exact), 2.0),
            ("sigmoid, negative", worst(-0.0, -120.0, sigmoid, sigmoid_exact), 3.0),
            ("tanh", worst(0.0, 1e4, tanh, f64::tanh), 3.0),
            ("square root as a power", worst(0.0, 1.0, |v| v.unit_power(2.5), |v| v.powf(2.5)), 3.0),
            ("power", worst(1e-6, 1.0, |v| v.unit_power(1.3), |v| v.powf(1.3)), 20.0),
        ];
        let table: Vec<String> =
            bounds.iter().map(|(name, ulps, bound)| format!("{name}: {ulps} of {bound}")).collect();
        assert!(bounds.iter().all(|(_, ulps, bound)| ulps <= bound), "{table:#?}");
    }

    #[test]
    fn elementary_functions_know_the_edges() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let edges = [
            (
                f32::exp_any as fn(f32) -> f32,
                f32::exp as fn(f32) -> f32,
                [-inf, inf, nan, 0.0, -0.0, 89.0, f32::MAX, f32::MIN],
            ),
            (f32::expm1, f32::exp_m1, [-inf, inf, nan, 0.0, -0.0, 89.0, f32::MAX, f32::MIN]),
            (f32::log_any, f32::ln, [-inf, inf, nan, 0.0, -0.0, 1.0, -1.0, f32::MIN]),
            (f32::log1p, f32::ln_1p, [-inf, inf, nan, 0.0, -0.0, -1.0, -2.0, f32::MIN]),
            (tanh, f32::tanh, [-inf, inf, nan, 0.0, -0.0, 10.0, f32::MAX, f32::MIN]),
            (softplus, |v| v.max(0.0 * v), [inf, nan, f32::MAX, f32::MIN, 1e30, -1e30, 1e4, -1e4]),
        ];
        for (got, expected, values) in edges {
            for (got, expected) in values.map(|v| (got(v), expected(v))) {
                assert!(got == expected || (got.is_nan() && expected.is_nan()), "{got}, expected {expected}");
            }
        }
        assert_eq!(softplus(-inf), 0.0);
        assert_eq!([0.0, 1.0, nan].map(|v: f32| v.unit_power(0.0)), [1.0; 3]);
        assert_eq!([0.0, 1.0].map(|v: f32| v.unit_power(1.7)), [0.0, 1.0]);
    }
}
