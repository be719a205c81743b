//! CPU seconds, all threads.

/// Of this process, or of its children that have ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    Own,
    Children,
}

#[cfg(unix)]
pub(super) fn cpu_seconds(whose: Whose) -> f64 {
    let whose = match whose {
        Whose::Own => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
    };
    // SAFETY: zeros are a valid value of this plain structure, which the call fills.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(whose, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + 1e-6 * time.tv_usec as f64;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// On Windows of this process alone.
#[cfg(windows)]
pub(super) fn cpu_seconds(_: Whose) -> f64 {
    unsafe extern "system" {
        fn GetCurrentProcess() -> isize;
        fn GetProcessTimes(process: isize, made: &mut u64, ended: &mut u64, kernel: &mut u64, user: &mut u64) -> i32;
    }
    let [mut made, mut ended, mut kernel, mut user] = [0; 4];
    // SAFETY: the handle needs no closing, and each number has the size and the alignment of a FILETIME or more.
    unsafe { GetProcessTimes(GetCurrentProcess(), &mut made, &mut ended, &mut kernel, &mut user) };
    1e-7 * (kernel + user) as f64
}
