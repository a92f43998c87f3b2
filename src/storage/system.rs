//! What the operating system does for the files and the memory of this process.

/// What it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Whether a file is opened beneath a directory in one call, `openat2`; else by one component at a time.
    pub opens_beneath: bool,
    /// The devices and files to which it may write what a process holds in memory, as it is.
    pub open_swaps: Vec<String>,
}

impl System {
    /// Looks. Whether there is `openat2`, only opening something has shown.
    #[cfg(target_os = "linux")]
    pub fn look() -> Self {
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        // A line of titles, then `/dev/sda2  partition  8388604  0  -2`.
        let devices = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        let open_swaps = devices.filter(|device| !is_closed(device)).map(str::to_owned).collect();
        Self { opens_beneath: super::beneath::is_in_one_call(), open_swaps }
    }

    /// What another system than Linux does is not known.
    #[cfg(not(target_os = "linux"))]
    pub fn look() -> Self {
        Self { opens_beneath: false, open_swaps: Vec::new() }
    }
}

/// Whether nothing of a swap device reaches a disk as it is: it lies in memory, or is encrypted (dm-crypt).
#[cfg(target_os = "linux")]
fn is_closed(device: &str) -> bool {
    let device = std::fs::canonicalize(device).unwrap_or_else(|_| device.into());
    let Some(name) = device.strip_prefix("/dev").ok().and_then(|name| name.to_str()) else { return false };
    let mapping = std::fs::read_to_string(format!("/sys/block/{name}/dm/uuid"));
    name.starts_with("zram") || mapping.is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}
