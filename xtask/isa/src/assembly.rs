//! The final instructions of a kernel, as text: how many of them are arithmetic, what they access, and in which order.

use std::collections::HashMap;

/// What of a row a lane has, for figures per class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share {
    /// Classes for each lane, over all of its rows.
    pub(crate) classes: f64,
    /// Bytes of a logit in memory.
    pub(crate) bytes: u64,
}

/// What an instruction costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Arithmetic of all lanes (VALU): `v_*` but for `v_nop`. Comparisons, moves and exchanges between lanes take the same
    /// slots, and count; a dual instruction of GFX11 takes one.
    Vector,
    /// Of these, those at a quarter of the rate: exp, log, reciprocals, roots, sines.
    Transcendental,
    /// Arithmetic of the subgroup (SALU): `s_*` but for branches, barriers, waits, loads and hints.
    Scalar,
    Other,
}

impl Kind {
    fn of(mnemonic: &str) -> Self {
        const SLOW: [&str; 7] = ["exp_", "log_", "rcp_", "rsq_", "sqrt_", "sin_", "cos_"];
        const CONTROL: [&str; 24] = [
            "barrier",
            "branch",
            "buffer_load",
            "cbranch",
            "clause",
            "code_end",
            "dcache",
            "decperflevel",
            "delay_alu",
            "endpgm",
            "getpc",
            "icache",
            "incperflevel",
            "inst_prefetch",
            "load",
            "nop",
            "sendmsg",
            "set_inst_prefetch",
            "sethalt",
            "setprio",
            "sleep",
            "store",
            "trap",
            "wait",
        ];
        match mnemonic.split_once('_') {
            Some(("v", "nop")) => Self::Other,
            Some(("v", name)) if SLOW.iter().any(|slow| name.starts_with(slow)) => Self::Transcendental,
            Some(("v", _)) => Self::Vector,
            Some(("s", name)) if !CONTROL.iter().any(|control| name.starts_with(control)) => Self::Scalar,
            _ => Self::Other,
        }
    }
}

/// An access to a buffer per lane. Values that are the same in all lanes come by scalar loads, which are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access<'a> {
    line: usize,
    pub(crate) is_load: bool,
    /// 12 count as 8.
    pub(crate) bytes: u64,
    /// The registers that describe the buffer.
    buffer: &'a str,
}

impl<'a> Access<'a> {
    /// Two names each, of GFX9 and 10, and of GFX11.
    fn of(line: usize, text: &'a str) -> Option<Self> {
        let mnemonic = mnemonic(text);
        let rest = mnemonic.strip_prefix("buffer_").or_else(|| mnemonic.strip_prefix("global_"))?;
        let (is_load, width) = match rest.strip_prefix("load_") {
            Some(width) => (true, width),
            None => (false, rest.strip_prefix("store_")?),
        };
        let bytes = match width {
            "dwordx4" | "b128" => 16,
            "dwordx3" | "b96" | "dwordx2" | "b64" => 8,
            "dword" | "b32" => 4,
            _ => 2,
        };
        let buffer = text.split([' ', ',']).find(|operand| operand.starts_with("s[")).unwrap_or_default();
        Some(Self { line, is_load, bytes, buffer })
    }
}

/// The instructions, line by line.
pub(crate) struct Assembly<'a> {
    lines: Vec<&'a str>,
    /// First and last line of each, outer ones too.
    loops: Vec<(usize, usize)>,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let lines: Vec<&str> = text.lines().map(|line| line.split(';').next().unwrap_or_default().trim()).collect();
        let loops = loops(&lines);
        Self { lines, loops }
    }

    /// Every instruction's line and mnemonic.
    pub(crate) fn instructions(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.lines.iter().map(|line| mnemonic(line)).enumerate()
    }

    /// How many instructions are of a kind; the transcendental ones are vector instructions too.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.count_in(kind, (0, self.lines.len()))
    }

    fn count_in(&self, kind: Kind, (first, last): (usize, usize)) -> u64 {
        let is_of_kind = |of: Kind| of == kind || (of, kind) == (Kind::Transcendental, Kind::Vector);
        let inside = self.instructions().filter(|(line, _)| (first..=last).contains(line));
        inside.filter(|(_, mnemonic)| is_of_kind(Kind::of(mnemonic))).count() as u64
    }

    /// Whether a line lies in a loop.
    pub(crate) fn is_looped(&self, line: usize) -> bool {
        self.loops.iter().any(|(first, last)| (first..=last).contains(&&line))
    }

    pub(crate) fn accesses(&self) -> impl Iterator<Item = Access<'a>> {
        self.lines.iter().enumerate().filter_map(|(line, text)| Access::of(line, text))
    }

    pub(crate) fn is_looped_access(&self, access: &Access<'_>) -> bool {
        self.is_looped(access.line)
    }

    /// Vector instructions per class: of the code outside of loops, over the classes that a lane has, where the loads there are
    /// enough for them; else the sum over the innermost loops that do, of each the instructions over the classes that one iteration passes.
    /// Every branch counts as taken. Loops that pass less than a quarter as many as another one are edges, and left out.
    pub(crate) fn vector_per_class(&self, share: Share) -> f64 {
        let straight = |line: &usize| !self.is_looped(*line);
        let loaded: u64 = self.accesses().filter(|a| a.is_load && straight(&a.line)).map(|a| a.bytes).sum();
        if loaded as f64 >= share.classes * share.bytes as f64 {
            let vector = |mnemonic| matches!(Kind::of(mnemonic), Kind::Vector | Kind::Transcendental);
            let count = self.instructions().filter(|(line, mnemonic)| straight(line) && vector(mnemonic)).count();
            return count as f64 / share.classes;
        }
        let bodies: Vec<(f64, f64)> = self
            .innermost()
            .map(|body| (self.count_in(Kind::Vector, body) as f64, self.bytes_passed(body) as f64 / share.bytes as f64))
            .filter(|(_, classes)| *classes > 0.0)
            .collect();
        let widest = bodies.iter().map(|(_, classes)| *classes).fold(0.0, f64::max);
        if widest == 0.0 {
            return self.count(Kind::Vector) as f64 / share.classes;
        }
        bodies.iter().filter(|(_, classes)| *classes * 4.0 >= widest).map(|(count, classes)| count / classes).sum()
    }

    fn innermost(&self) -> impl Iterator<Item = (usize, usize)> {
        let contains = |(first, last): (usize, usize), inner: (usize, usize)| {
            (first, last) != inner && first <= inner.0 && inner.1 <= last
        };
        self.loops.iter().copied().filter(move |&outer| !self.loops.iter().any(|&inner| contains(outer, inner)))
    }

    /// Bytes of logits that an iteration passes: those of the buffer that is accessed as widely as any and least. Others that
    /// have something for each class are not read by less.
    fn bytes_passed(&self, (first, last): (usize, usize)) -> u64 {
        let mut buffers: HashMap<(bool, &str), (u64, u64)> = HashMap::new();
        for access in self.accesses().filter(|access| (first..=last).contains(&access.line)) {
            let (widest, bytes) = buffers.entry((access.is_load, access.buffer)).or_default();
            *widest = access.bytes.max(*widest);
            *bytes += access.bytes;
        }
        let widest = buffers.values().map(|(widest, _)| *widest).max();
        buffers.values().filter(|(width, _)| Some(*width) == widest).map(|(_, bytes)| *bytes).min().unwrap_or(0)
    }

    /// Of the widest loads, which are those of a row: how many stand in the code before the first wait for one of them, and how
    /// many there are. The counter of outstanding loads (`vmcnt`) is followed in the order of the code; they come back in the
    /// order in which they were issued. GFX9 counts stores too, but a row that is held is stored last.
    pub(crate) fn loads_at_once(&self) -> (u64, u64) {
        let loads: HashMap<usize, u64> =
            self.accesses().filter(|access| access.is_load).map(|access| (access.line, access.bytes)).collect();
        let widest = loads.values().max();
        let all = loads.values().filter(|bytes| Some(*bytes) == widest).count() as u64;
        let mut outstanding: Vec<bool> = Vec::new();
        let mut issued = 0;
        for (line, text) in self.lines.iter().enumerate() {
            if let Some(bytes) = loads.get(&line) {
                let of_row = Some(bytes) == widest;
                outstanding.push(of_row);
                issued += u64::from(of_row);
            } else if let Some(left) = left_outstanding(text) {
                let done = outstanding.len().saturating_sub(left);
                if outstanding.drain(..done).any(|of_row| of_row) {
                    return (issued, all);
                }
            }
        }
        (issued, all)
    }
}

fn mnemonic(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// How many loads may be left outstanding after a wait.
fn left_outstanding(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("s_waitcnt ")?.split_once("vmcnt(")?.1;
    rest.split_once(')')?.0.parse().ok()
}

/// From a label to the last branch back to it.
fn loops(lines: &[&str]) -> Vec<(usize, usize)> {
    let labels: HashMap<&str, usize> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((line.strip_suffix(':')?, at))).collect();
    let mut ends: HashMap<usize, usize> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        let mut words = line.split_whitespace();
        let branches = words.next().is_some_and(|word| word.starts_with("s_cbranch") || word.starts_with("s_branch"));
        let target =
            words.next().filter(|_| branches).and_then(|label| labels.get(label)).filter(|&&target| target <= at);
        if let Some(&target) = target {
            ends.insert(target, at);
        }
    }
    let mut loops: Vec<_> = ends.into_iter().collect();
    loops.sort_unstable();
    loops
}

#[cfg(test)]
mod tests {
    use super::{Assembly, Kind, Share};

    /// Two rows of 16 bytes, of which the second is loaded before the first is used.
    const HELD: &str = "BB0:
        s_load_b128 s[4:7], s[2:3], null             ; f4080101 f8000000
        buffer_load_b32 v9, v8, s[4:7], 0 offen      ; e0500000 80010908
        s_waitcnt lgkmcnt(0)
        s_clause 0x1
        buffer_load_b128 v[0:3], v8, s[4:7], 0 offen
        s_waitcnt vmcnt(1)
        v_add_nc_u32_e32 v9, 4, v9
        buffer_load_b128 v[4:7], v9, s[4:7], 0 offen
        s_waitcnt vmcnt(1)
        v_max_f32_e32 v0, v0, v1
        s_waitcnt vmcnt(0) lgkmcnt(0)
        v_max_f32_e32 v0, v0, v4
        v_exp_f32_e32 v0, v0
        v_nop
        v_dual_mul_f32 v1, v2, v3 :: v_dual_add_f32 v4, v5, v6
        s_and_b64 s[8:9], s[8:9], exec
        ds_swizzle_b32 v1, v0 offset:swizzle(SWAP,1)
        buffer_store_b128 v[0:3], v8, s[8:11], 0 offen
        s_endpgm";

    const LOOPED: &str = "BB0:
        v_mov_b32_e32 v0, 0
    BB1:
        buffer_load_b128 v[4:7], v0, s[4:7], 0 offen
        buffer_load_b128 v[8:11], v0, s[4:7], 0 offen offset:16
        buffer_load_b128 v[12:15], v0, s[8:11], 0 offen
        buffer_load_b128 v[16:19], v0, s[8:11], 0 offen offset:16
        buffer_load_b32 v20, v0, s[12:15], 0 offen
        s_waitcnt vmcnt(0)
        v_add_f32_e32 v1, v1, v4
        v_add_f32_e32 v1, v1, v5
        v_exp_f32_e32 v1, v1
        v_add_f32_e32 v1, v1, v7
        s_cbranch_scc1 BB1
    BB2:
        buffer_load_b32 v4, v0, s[4:7], 0 offen
        v_add_f32_e32 v1, v1, v4
        s_cbranch_scc1 BB2
    BB3:
        v_add_f32_e32 v1, v1, v4
        s_cbranch_scc0 BB3
    BB4:
        v_mul_f32_e32 v4, v4, v1
        buffer_store_b128 v[4:7], v0, s[16:19], 0 offen
        v_mul_f32_e32 v5, v5, v1
        s_branch BB4";

    #[test]
    fn instructions_are_counted_by_kind() {
        let code = Assembly::new(HELD);
        assert_eq!(code.count(Kind::Vector), 5);
        assert_eq!(code.count(Kind::Transcendental), 1);
        assert_eq!(code.count(Kind::Scalar), 1);
        for control in
            ["s_waitcnt_vscnt", "s_cbranch_execz", "s_load_dwordx4", "s_buffer_load_b32", "s_nop", "s_delay_alu"]
        {
            assert_eq!(Kind::of(control), Kind::Other, "{control}");
        }
        for scalar in ["s_cselect_b32", "s_and_saveexec_b64", "s_mov_b32", "s_bfm_b32", "s_sub_i32"] {
            assert_eq!(Kind::of(scalar), Kind::Scalar, "{scalar}");
        }
        assert_eq!(Kind::of("v_readfirstlane_b32"), Kind::Vector);
    }

    #[test]
    fn without_loops_all_instructions_are_shared_by_the_classes_of_a_lane() {
        assert_eq!(Assembly::new(HELD).vector_per_class(Share { classes: 8.0, bytes: 4 }), 5.0 / 8.0);
    }

    /// Loops that access no buffer, and the one of an edge, do not count; nor does what is read by a width of its own.
    #[test]
    fn loops_are_summed_by_what_an_iteration_passes() {
        let per_class = |bytes| Assembly::new(LOOPED).vector_per_class(Share { classes: 1000.0, bytes });
        assert_eq!(per_class(4), 4.0 / 8.0 + 2.0 / 4.0);
        assert_eq!(per_class(2), 4.0 / 16.0 + 2.0 / 8.0);
    }

    #[test]
    fn loads_of_a_row_are_at_once_where_nothing_waits_for_one_between_them() {
        assert_eq!(Assembly::new(HELD).loads_at_once(), (2, 2));
        // The first wait now waits for the first half of the row.
        assert_eq!(Assembly::new(&HELD.replacen("vmcnt(1)", "vmcnt(0)", 1)).loads_at_once(), (1, 2));
        assert_eq!(Assembly::new(LOOPED).loads_at_once(), (4, 4));
        assert_eq!(Assembly::new("BB0:\n s_endpgm").loads_at_once(), (0, 0));
        // GFX9 and 10.
        let older = HELD.replace("b128", "dwordx4").replace("load_b32", "load_dword");
        assert_eq!(Assembly::new(&older).loads_at_once(), (2, 2));
    }
}
