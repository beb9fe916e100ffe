//! How much memory this process can still get: what the kernel counts as available, the limits of
//! the control groups that it runs in (a container's, a batch system's), with the swap that goes with either, and its own
//! limit of addresses (`ulimit -v`).
//!
//! In: the files of Linux. Out: a [`Capacity`], or nothing where there are no such files: on other systems nobody asks,
//! and work that is too large ends as the system ends it.

use crate::device::Capacity;
use std::fs;
use std::path::Path;

/// What can still be had, and what there is.
pub fn room() -> Option<Capacity> {
    let room = below(Path::new("/"))?;
    Some(match addresses() {
        Some(limit) => Capacity { free: room.free.min(limit.free), total: room.total.min(limit.total) },
        None => room,
    })
}

/// What is left of the addresses that this process may have, if there is a limit.
#[cfg(target_os = "linux")]
fn addresses() -> Option<Capacity> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a struct of two numbers.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    if asked != 0 || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    // The first number of statm: pages of addresses that are taken.
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').next()?.parse().ok()?;
    // SAFETY: asks for a number.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    // Of 32 bits on processors of 32.
    #[allow(clippy::useless_conversion)]
    let total = u64::from(limit.rlim_cur);
    Some(Capacity { free: total.saturating_sub(pages * page), total })
}

#[cfg(not(target_os = "linux"))]
fn addresses() -> Option<Capacity> {
    None
}

/// As if `root` were the root folder.
fn below(root: &Path) -> Option<Capacity> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = |name: &str| -> Option<u64> {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let swap = line("SwapFree").unwrap_or(0);
    let mut room = Capacity {
        free: line("MemAvailable")? + swap,
        total: line("MemTotal")? + line("SwapTotal").unwrap_or(0),
    };
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    for group in groups.lines() {
        // hierarchy:controllers:path; the hierarchy of version 2 is 0 and names no controllers.
        let mut parts = group.splitn(3, ':');
        let (number, controllers, path) = (parts.next(), parts.next(), parts.next().unwrap_or("/"));
        let (mount, names) = match (number, controllers) {
            (Some("0"), Some("")) => (root.join("sys/fs/cgroup"), &V2),
            (_, Some(list)) if list.split(',').any(|name| name == "memory") => {
                (root.join("sys/fs/cgroup/memory"), &V1)
            }
            _ => continue,
        };
        // Every group above limits too. In a container the path may be that of the host: then the mount is the group.
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            if let Some(limit) = names.limit(&mount.join(above), swap) {
                let [free, total] = [room.free.min(limit.free), room.total.min(limit.total)];
                room = Capacity { free, total };
            }
        }
    }
    Some(room)
}

/// The files of a control group.
struct Names {
    most: &'static str,
    used: &'static str,
    /// Of what is used, pages of files that the kernel takes back when it needs them.
    cached: &'static str,
    /// How much may be swapped out, and how much is.
    swap: Option<[&'static str; 2]>,
}

const V2: Names = Names {
    most: "memory.max",
    used: "memory.current",
    cached: "inactive_file",
    swap: Some(["memory.swap.max", "memory.swap.current"]),
};

const V1: Names = Names {
    most: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: "total_inactive_file",
    swap: None,
};

impl Names {
    /// Of a group with a limit; `swap` is what the machine has.
    fn limit(&self, group: &Path, swap: u64) -> Option<Capacity> {
        // No number: "max", for no limit.
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        let most = number(self.most)?;
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(self.cached)?.trim().parse().ok());
        let used = number(self.used)?.saturating_sub(cached.unwrap_or(0));
        let swap = match self.swap.map(|names| names.map(number)) {
            Some([Some(most), used]) => swap.min(most.saturating_sub(used.unwrap_or(0))),
            _ => swap,
        };
        let with_swap = |bytes: u64| bytes.saturating_add(swap);
        Some(Capacity { free: with_swap(most.saturating_sub(used)), total: with_swap(most) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in all {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const MEMINFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    9000 kB\nSwapTotal:       2000 kB\nSwapFree:        1500 kB\n",
    );

    fn kib(all: &[(&str, &str)]) -> Option<[u64; 2]> {
        let dir = files(all);
        below(dir.path()).map(|room| [room.free, room.total].map(|bytes| bytes / 1024))
    }

    #[test]
    fn the_machine_counts_where_no_group_has_less() {
        assert_eq!(kib(&[]), None, "no Linux");
        assert_eq!(kib(&[MEMINFO]), Some([10_500, 18_000]));
        let group = ("proc/self/cgroup", "0::/\n");
        assert_eq!(kib(&[MEMINFO, group, ("sys/fs/cgroup/memory.max", "max\n")]), Some([10_500, 18_000]));
        // Version 1 writes a limit that nobody has set as a very large number.
        let none = [
            ("proc/self/cgroup", "4:cpu,memory:/a\n0::/a\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1024\n"),
        ];
        assert_eq!(kib(&[&[MEMINFO][..], &none].concat()), Some([10_500, 18_000]));
    }

    #[test]
    fn a_groups_limit_counts_and_those_above_it() {
        let limited = [
            ("proc/self/cgroup", "0::/job/step\n"),
            ("sys/fs/cgroup/job/step/memory.max", "max"),
            ("sys/fs/cgroup/job/memory.max", "8388608\n"),
            ("sys/fs/cgroup/job/memory.current", "3145728\n"),
            ("sys/fs/cgroup/job/memory.stat", "anon 2097152\ninactive_file 1048576\nactive_file 0\n"),
        ];
        let of = |more: &[(&str, &str)]| kib(&[&[MEMINFO][..], &limited, more].concat());
        // 8 of 8 MiB, of which 2 are taken for good; and what the machine can swap.
        assert_eq!(of(&[]), Some([6 * 1024 + 1500, 8 * 1024 + 1500]));
        let swap = [("sys/fs/cgroup/job/memory.swap.max", "0\n")];
        assert_eq!(of(&swap), Some([6 * 1024, 8 * 1024]), "the group may not swap");
        let own = [
            ("sys/fs/cgroup/job/step/memory.max", "4194304"),
            ("sys/fs/cgroup/job/step/memory.current", "4194304"),
        ];
        assert_eq!(of(&own), Some([1500, 4 * 1024 + 1500]), "the group itself has less");
        let old = [
            ("proc/self/cgroup", "9:memory:/docker/1f\n"),
            // In a container: the path above is the host's, what is mounted is the group.
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4194304\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "3145728\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 0\ntotal_inactive_file 1048576\n"),
        ];
        assert_eq!(kib(&[&[MEMINFO][..], &old].concat()), Some([2048 + 1500, 4096 + 1500]));
    }
}
