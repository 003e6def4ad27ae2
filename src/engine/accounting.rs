//! What the process has used so far: processor time and memory, by the system's accounting.

/// Processor time of all threads of the process so far.
#[cfg(unix)]
pub(super) fn cpu_seconds() -> f64 {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    resource_usage().map_or(0.0, |usage| seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// The most memory that the process ever held.
#[cfg(unix)]
pub(super) fn peak_memory_bytes() -> u64 {
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    resource_usage().map_or(0, |usage| u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit)
}

/// The memory of the machine.
#[cfg(unix)]
pub(super) fn total_memory_bytes() -> u64 {
    #[expect(unsafe_code, reason = "the system's accounting has no safe interface")]
    // Safety: sysconf reads a number and touches no memory of ours.
    let [pages, size] = unsafe { [libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)] };
    match (u64::try_from(pages), u64::try_from(size)) {
        (Ok(pages), Ok(size)) => pages.saturating_mul(size),
        _ => ASSUMED_MEMORY,
    }
}

/// What a machine is taken to have if the system does not say.
const ASSUMED_MEMORY: u64 = 8 << 30;

#[cfg(not(unix))]
pub(super) fn total_memory_bytes() -> u64 {
    ASSUMED_MEMORY
}

#[cfg(unix)]
fn resource_usage() -> Option<libc::rusage> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    #[expect(unsafe_code, reason = "the system's accounting has no safe interface")]
    // Safety: getrusage fills the whole structure when it returns 0, and only then is it read.
    unsafe {
        (libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) == 0).then(|| usage.assume_init())
    }
}

/// Without the system's accounting, time on the clock is the nearest thing.
#[cfg(not(unix))]
pub(super) fn cpu_seconds() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64()
}

#[cfg(not(unix))]
pub(super) fn peak_memory_bytes() -> u64 {
    0
}
