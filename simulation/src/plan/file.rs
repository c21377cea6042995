//! Plans as files: TOML, with each fault and each step of a client on a line of its own.
//!
//! A file says which format it has. A release reads the formats that it knows, and says so of others.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{InvalidPlan, Plan};

/// The format of plan files that this release writes, and the only one it reads.
pub const FORMAT: u64 = 1;

/// Why a plan file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanFileError {
    /// A line is wrong.
    #[error("{0}")]
    Line(String),
    /// It is of another format.
    #[error(
        "a plan of format {found}, where this release reads format {FORMAT}; run the seed again with the release that wrote it"
    )]
    Format {
        /// Which.
        found: i64,
    },
    /// It is no plan.
    #[error("no plan: the line `quorate-plan = {FORMAT}` is missing")]
    NoPlan,
    /// It says something that cannot be.
    #[error("{0}")]
    Invalid(#[from] InvalidPlan),
}

#[derive(Deserialize)]
struct Format {
    #[serde(rename = "quorate-plan")]
    format: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(rename = "quorate-plan")]
    _format: i64,
    seed: u64,
    cluster: super::ClusterPlan,
    network: super::NetworkPlan,
    disk: super::DiskPlan,
    #[serde(default)]
    faults: Vec<super::TimedFault>,
    #[serde(default)]
    clients: Vec<super::ClientPlan>,
}

/// Reads a plan.
///
/// # Errors
/// What is wrong with the file, and in which line.
pub fn read(text: &str) -> Result<Plan, PlanFileError> {
    let line = |error: toml::de::Error| PlanFileError::Line(error.to_string().trim_end().to_owned());
    match toml::from_str::<Format>(text).map_err(line)?.format {
        None => return Err(PlanFileError::NoPlan),
        Some(found) if u64::try_from(found) != Ok(FORMAT) => return Err(PlanFileError::Format { found }),
        Some(_) => {}
    }
    let File { seed, cluster, network, disk, faults, clients, .. } = toml::from_str(text).map_err(line)?;
    let plan = Plan { seed, cluster, network, disk, faults, clients };
    plan.check()?;
    Ok(plan)
}

/// Writes a plan. `about` goes above it, as comments.
///
/// # Panics
/// If the plan was not checked and has a number beyond TOML's 64 bits with a sign.
pub fn write(plan: &Plan, about: &str) -> String {
    let mut text = String::new();
    let line =
        |text: &mut String, what: &str| text.write_str(what).and_then(|()| text.write_char('\n')).expect("to memory");
    about.lines().for_each(|about| line(&mut text, format!("# {about}").trim_end()));
    line(&mut text, &format!("quorate-plan = {FORMAT}"));
    line(&mut text, "# Delays, and whatever else is not written here, come from this.");
    line(&mut text, &format!("seed = {}", plan.seed));
    line(
        &mut text,
        "# Nodes are numbered from 1, clients and keys from 0. A fault lasts `for`; a node that went down starts then.",
    );
    line(&mut text, "faults = [");
    plan.faults.iter().for_each(|fault| line(&mut text, &format!("  {},", inline(fault))));
    line(&mut text, "]");
    for (name, table) in
        [("cluster", fields(&plan.cluster)), ("network", fields(&plan.network)), ("disk", fields(&plan.disk))]
    {
        line(&mut text, &format!("\n[{name}]"));
        table.iter().for_each(|(key, value)| line(&mut text, &format!("{key} = {value}")));
    }
    for client in &plan.clients {
        line(&mut text, "\n[[clients]]");
        if !client.starts.is_zero() {
            line(&mut text, &format!("starts = {}", inline(&client.starts)));
        }
        line(&mut text, "steps = [");
        client.steps.iter().for_each(|step| line(&mut text, &format!("  {},", inline(step))));
        line(&mut text, "]");
    }
    text
}

fn inline(value: &impl Serialize) -> String {
    toml::Value::try_from(value).expect("plans hold what TOML can").to_string()
}

fn fields(value: &impl Serialize) -> toml::Table {
    toml::Table::try_from(value).expect("plans hold what TOML can")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        for seed in 0..200 {
            let plan = Plan::swarm(&mut Choices::new(seed));
            let text = write(&plan, "a test\n");
            assert_eq!(read(&text).map_err(|error| format!("{error}\n{text}")), Ok(plan));
        }
    }

    #[test]
    fn a_bad_line_is_named_with_what_was_expected() {
        let text = write(&Plan::swarm(&mut Choices::new(1)), "");
        let wrong = text.replacen("\nnodes = ", "\nnodes = \"many\" #", 1);
        let error = read(&wrong).expect_err("a string is no number").to_string();
        let number = 1 + wrong.lines().position(|line| line.contains("many")).expect("the line is there");
        assert!(error.contains(&format!("line {number}")) && error.contains("expected u32"), "{error}");
        let error = read(&text.replacen("[disk]", "[disks]", 1)).expect_err("no such table").to_string();
        assert!(error.contains("unknown field `disks`, expected one of"), "{error}");
    }

    #[test]
    fn plans_of_other_formats_are_refused() {
        assert_eq!(read("quorate-plan = 99\nnew = 1"), Err(PlanFileError::Format { found: 99 }));
        assert_eq!(read("seed = 1"), Err(PlanFileError::NoPlan));
    }

    #[test]
    fn what_cannot_be_is_said_with_its_place() {
        let mut plan = Plan::swarm(&mut Choices::new(1));
        plan.clients[0].steps[0].action =
            super::super::load::Action::Get(super::super::load::Get { key: 5_000, ..Default::default() });
        let error = read(&write(&plan, "")).expect_err("there is no such key").to_string();
        assert!(error.contains("client 0, step 1: key 5000"), "{error}");
    }
}
