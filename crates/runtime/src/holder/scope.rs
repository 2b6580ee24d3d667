//! Kill scope: whoever dies together may share a holder, nobody else.
//!
//! A process started in a batch job dies with the job, so a holder serves the jobs' step that
//! started it. (`design.md` §2, §12.1.)

/// What a holder is shared within.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(String);

impl Scope {
    /// The scope of a process: the text of its `/proc/PID/cgroup`, and the batch system's ids of
    /// job and step where the environment has them (`SLURM_JOB_ID` and `SLURM_STEP_ID`, or the
    /// equivalents).
    ///
    /// The cgroup is the v2 one, else the v1 freezer's or pids'; a trailing `task_*` is cut, since
    /// tasks of a step die together. The ids count also beside a cgroup: a batch system without
    /// cgroups keeps all jobs in that of its service. Neither: the whole node.
    #[must_use]
    pub fn new(cgroup: &str, job: Option<&str>, step: Option<&str>) -> Self {
        let mut parts = Vec::new();
        if let Some(path) = cgroup_path(cgroup) {
            parts.push(format!("cgroup {path}"));
        }
        if let Some(job) = job.filter(|job| !job.is_empty()) {
            parts.push(format!("job {job} step {}", step.unwrap_or_default()));
        }
        Self(if parts.is_empty() { "node".to_owned() } else { parts.join(" ") })
    }

    /// The scope's name, for keys and logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The path of the cgroup that tells most, without its task; none when it is the root.
fn cgroup_path(text: &str) -> Option<&str> {
    // Lines are `number:controllers:path`; the v2 line is `0::path`.
    let of = |wanted: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = controllers == wanted || controllers.split(',').any(|name| name == wanted);
            let path = match path.rsplit_once('/') {
                Some((step, task)) if task.starts_with("task_") => step,
                _ => path,
            };
            (is_it && !path.is_empty() && path != "/").then_some(path)
        })
    };
    of("").or_else(|| of("freezer")).or_else(|| of("pids"))
}

#[cfg(test)]
mod tests {
    use super::Scope;

    const V2_STEP: &str = "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_3\n";
    const V1: &str = "9:pids:/slurm/uid_7/job_7\n4:freezer:/slurm/uid_7/job_7/step_1\n0::/\n";

    #[test]
    fn tasks_of_a_step_share_and_steps_do_not() {
        let task = |text: &str| Scope::new(text, None, None);
        assert_eq!(task(V2_STEP), task(&V2_STEP.replace("task_3", "task_4")));
        assert_ne!(task(V2_STEP), task(&V2_STEP.replace("step_0", "step_1")));
        assert_eq!(
            task(V2_STEP).as_str(),
            "cgroup /system.slice/slurmstepd.scope/job_7/step_0/user"
        );
    }

    #[test]
    fn the_freezer_tells_where_the_unified_cgroup_is_the_root() {
        assert_eq!(Scope::new(V1, None, None).as_str(), "cgroup /slurm/uid_7/job_7/step_1");
    }

    #[test]
    fn ids_tell_where_the_cgroup_does_not() {
        assert_eq!(Scope::new("0::/\n", Some("7"), Some("2")).as_str(), "job 7 step 2");
        let service = "0::/system.slice/slurmd.service\n";
        assert_ne!(Scope::new(service, Some("7"), None), Scope::new(service, Some("8"), None));
    }

    #[test]
    fn without_cgroup_and_job_it_is_the_node() {
        assert_eq!(Scope::new("0::/\n", None, None).as_str(), "node");
        assert_eq!(Scope::new("", Some(""), Some("")).as_str(), "node");
    }
}
