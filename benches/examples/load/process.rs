//! Processor time and memory of a process, from /proc.

use std::time::Duration;

/// Processor time of this process's threads so far.
pub(crate) fn own_time() -> Result<Duration, String> {
    let failed = |error| format!("schedstat: {error}");
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task").map_err(failed)? {
        let text = std::fs::read_to_string(thread.map_err(failed)?.path().join("schedstat"))
            .unwrap_or_default();
        nanoseconds +=
            text.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Processor time of the children that have ended.
pub(crate) fn children_time() -> Result<Duration, String> {
    let text =
        std::fs::read_to_string("/proc/self/stat").map_err(|error| format!("stat: {error}"))?;
    // proc(5): cutime and cstime are fields 16 and 17, that is the 14th and the 15th after the
    // name in brackets, in ticks of 10 ms.
    let fields: Vec<&str> = text.rsplit_once(") ").map_or("", |it| it.1).split(' ').collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
    Ok(Duration::from_millis(10 * (ticks(13) + ticks(14))))
}

/// Proportional set size of a process in KiB.
pub(crate) fn memory(process: u32) -> Result<u64, String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))
        .map_err(|error| format!("smaps: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
    line.trim_end_matches("kB").trim().parse().map_err(|error| format!("Pss: {error}"))
}

/// Resident memory of this process in KiB.
pub(crate) fn resident() -> Result<u64, String> {
    status("VmRSS:")
}

/// The most resident memory of this process in KiB, since the last call of [`forget_peak`].
pub(crate) fn peak() -> Result<u64, String> {
    status("VmHWM:")
}

/// Begins a new measurement of the most resident memory (proc(5), `clear_refs`).
pub(crate) fn forget_peak() -> Result<(), String> {
    std::fs::write("/proc/self/clear_refs", "5").map_err(|error| format!("clear_refs: {error}"))
}

fn status(field: &str) -> Result<u64, String> {
    let text =
        std::fs::read_to_string("/proc/self/status").map_err(|error| format!("status: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or(field)?;
    line.trim_end_matches("kB").trim().parse().map_err(|error| format!("{field} {error}"))
}
