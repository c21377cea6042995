//! An insight as a table that a person reads.

use std::fmt;
use std::time::Duration;

use super::{Divergence, Ends, Insight, RequestKind, Requests, Staleness, Times};

impl fmt::Display for Insight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = || RequestKind::ALL.into_iter().zip(&self.requests).filter(|(_, requests)| 0 < requests.all.count());
        writeln!(f, "{}\n\n{}\n", self.staleness, self.divergence)?;
        writeln!(f, "availability     requests   succeeded      failed   timed out | among faults   succeeded")?;
        for (kind, Requests { all, during_faults, .. }) in met() {
            let Ends { failed, timed_out, .. } = all;
            let name = kind.name();
            let [success, success_then] = [all, during_faults].map(|ends| percent(ends.share()));
            let (count, count_then) = (all.count(), during_faults.count());
            writeln!(
                f,
                "  {name:<12} {count:>10} {success:>11} {failed:>11} {timed_out:>11} | {count_then:>12} {success_then:>11}"
            )?;
        }
        writeln!(f, "\nlatency           median        90 %        99 %      99.9 %         max")?;
        for (kind, Requests { latency, .. }) in met().filter(|(_, requests)| 0 < requests.latency.count()) {
            let [half, most, nearly, all_but] = [500, 900, 990, 999].map(|share| time(latency.percentile(share)));
            let (name, max) = (kind.name(), time(latency.max()));
            writeln!(f, "  {name:<10} {half:>11} {most:>11} {nearly:>11} {all_but:>11} {max:>11}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "staleness     {} of {} reads missed a write acknowledged before they began",
            self.stale, self.reads
        )?;
        write!(f, " ({})", percent(self.share()))?;
        if self.stale == 0 {
            return Ok(());
        }
        let Self { missed, missed_max, .. } = self;
        write!(
            f,
            "\n  missed      {missed} writes in all, at most {missed_max} by one read\n  their age   {}",
            ages(&self.age)
        )
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mean() {
            None => write!(f, "divergence    no read found anything"),
            Some(mean) => write!(
                f,
                "divergence    {mean:.4} siblings a read, at most {}; {} of reads found more than one",
                self.siblings_max,
                percent(self.share())
            ),
        }
    }
}

fn ages(times: &Times) -> String {
    let [half, most, nearly] = [500, 900, 990].map(|share| time(times.percentile(share)));
    format!("half of them up to {half}, 90 % up to {most}, 99 % up to {nearly}, the oldest {}", time(times.max()))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.3} %", share * 100.0))
}

/// A length of time to three digits.
fn time(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.2} ms", time.as_secs_f64() * 1_000.0),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}
