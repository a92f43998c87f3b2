//! The operating system's protection of this process's files and memory.

/// The protection that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// `true` if a file is opened beneath a directory in one call, `openat2`; otherwise it takes one call for each component.
    pub opens_beneath: bool,
    /// The devices and files to which it may write what a process holds in memory, as it is.
    pub open_swaps: Vec<String>,
}

impl System {
    /// Looks at the system. Only opening a file shows whether there is `openat2`.
    #[cfg(target_os = "linux")]
    pub fn look() -> Self {
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        Self { opens_beneath: super::beneath::is_in_one_call(), open_swaps: open_swaps(&swaps) }
    }

    /// Returns nothing: other systems than Linux are not looked at.
    #[cfg(not(target_os = "linux"))]
    pub fn look() -> Self {
        Self { opens_beneath: false, open_swaps: Vec::new() }
    }
}

/// Those of `/proc/swaps` to which memory is written as it is.
#[cfg(target_os = "linux")]
fn open_swaps(swaps: &str) -> Vec<String> {
    // A line of titles, then `/dev/sda2  partition  8388604  0  -2`.
    let devices = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    devices.filter(|device| !is_closed(device)).map(str::to_owned).collect()
}

/// Returns `true` if a swap device lies in memory or is encrypted (dm-crypt).
#[cfg(target_os = "linux")]
fn is_closed(device: &str) -> bool {
    let device = std::fs::canonicalize(device).unwrap_or_else(|_| device.into());
    let Some(name) = device.strip_prefix("/dev").ok().and_then(|name| name.to_str()) else { return false };
    let mapping = std::fs::read_to_string(format!("/sys/block/{name}/dm/uuid"));
    name.starts_with("zram") || mapping.is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_swap_that_stays_in_memory_is_not_told() {
        let swaps = "Filename Type Size Used Priority\n\
                     /dev/zram0 partition 4194300 0 100\n\
                     /dev/none partition 4194300 0 -2\n\
                     /swapfile file 2097148 0 -3\n";
        assert_eq!(open_swaps(swaps), ["/dev/none", "/swapfile"]);
    }
}
