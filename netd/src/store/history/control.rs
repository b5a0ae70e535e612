//! Findings with their triage, and changes of verdicts: one small file that is kept whole.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use netd_engine::finding::Finding;
use netd_engine::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::Serialize;

use super::days::damaged;
use super::error::Error;
use super::flow::signed;
use super::health::Health;
use super::saved;
use super::schema;
use crate::store::Stored;
use crate::store::events::{VerdictChange, VerdictEvent};

/// Most changes of verdicts that are kept.
const MOST_VERDICTS: i64 = 100_000;

/// The file of findings and verdicts. Whoever writes holds it alone.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    health: Arc<Health>,
    connection: Mutex<Option<Connection>>,
}

/// What a former run left.
#[derive(Debug, Default)]
pub struct Opened {
    /// Oldest first.
    pub findings: Vec<Stored>,
    /// The highest number that any finding ever had.
    pub last_id: u64,
    /// Findings that could not be read back.
    pub unread: u64,
}

impl Control {
    /// Returns the file in `folder`; nothing is opened yet.
    #[must_use]
    pub fn new(folder: &Path, health: Arc<Health>) -> Self {
        Self { path: folder.join("control.db"), health, connection: Mutex::default() }
    }

    /// Reads back the newest `limit` findings. A damaged file is set aside first.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or is of another version.
    pub fn read(&self, limit: usize) -> Result<Opened, Error> {
        let read = self.with(|connection| {
            let mut opened = Opened::default();
            let mut statement = connection
                .prepare("SELECT id, finding, rises, response, triage FROM findings ORDER BY id DESC LIMIT ?")?;
            let mut rows = statement.query([signed(limit as u64)])?;
            while let Some(row) = rows.next()? {
                opened.last_id = opened.last_id.max(row.get::<_, i64>(0)?.cast_unsigned());
                match stored(row)? {
                    Some(stored) => opened.findings.push(stored),
                    None => opened.unread += 1,
                }
            }
            opened.findings.reverse();
            Ok(opened)
        });
        match read {
            Err(error) if error.is_damage() => {
                damaged(&self.path, &error, &self.health);
                self.with(|_| Ok(Opened::default()))
            }
            other => other,
        }
    }

    /// Keeps findings as they are, and changes of verdicts. Findings below `oldest` go.
    ///
    /// # Errors
    ///
    /// When nothing was kept.
    pub fn write(
        &self,
        findings: &[Stored],
        verdicts: &[(Timestamp, Arc<VerdictEvent>)],
        oldest: Option<u64>,
    ) -> Result<(), Error> {
        let findings = findings.iter().map(Document::of).collect::<Result<Vec<_>, _>>()?;
        let verdicts =
            verdicts.iter().map(|(time, event)| Ok((*time, event, serde_json::to_string(&event.entry.verdict)?)));
        let verdicts = verdicts.collect::<Result<Vec<_>, serde_json::Error>>()?;
        self.with(|connection| {
            let transaction = connection.transaction()?;
            for finding in &findings {
                transaction.execute(
                    "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)",
                    (finding.id, finding.time, &finding.finding, &finding.rises, &finding.response, &finding.triage),
                )?;
            }
            if let Some(oldest) = oldest {
                transaction.execute("DELETE FROM findings WHERE id < ?", [signed(oldest)])?;
            }
            for (time, event, document) in &verdicts {
                transaction.execute(
                    "INSERT INTO verdicts (time, change, verdict, document) VALUES (?, ?, ?, ?)",
                    (signed(time.0), change_name(event.change), signed(event.entry.id), document),
                )?;
            }
            if !verdicts.is_empty() {
                let last: Option<i64> =
                    transaction.query_row("SELECT max(id) FROM verdicts", [], |row| row.get(0)).optional()?.flatten();
                let below = last.unwrap_or(0) - MOST_VERDICTS;
                transaction.execute("DELETE FROM verdicts WHERE id <= ?", [below])?;
            }
            transaction.commit()
        })
    }

    /// Returns how many changes of verdicts are kept.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn verdict_changes(&self) -> Result<u64, Error> {
        self.with(|connection| connection.query_row("SELECT count(*) FROM verdicts", [], |row| row.get::<_, i64>(0)))
            .map(i64::cast_unsigned)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => schema::open(&self.path, schema::CONTROL)?,
        };
        let done = act(&mut connection).map_err(Error::sqlite("use", &self.path))?;
        // After an error the file is opened anew.
        *held = Some(connection);
        Ok(done)
    }
}

const fn change_name(change: VerdictChange) -> &'static str {
    match change {
        VerdictChange::Began => "began",
        VerdictChange::Released => "released",
        VerdictChange::Expired => "expired",
    }
}

/// A finding as the file has it.
struct Document {
    id: i64,
    time: i64,
    finding: String,
    rises: String,
    response: Option<String>,
    triage: String,
}

impl Document {
    fn of(stored: &Stored) -> Result<Self, serde_json::Error> {
        fn json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
            serde_json::to_string(value)
        }
        let finding: &Finding = &stored.finding;
        Ok(Self {
            id: signed(finding.id),
            time: signed(finding.time.0),
            finding: json(finding)?,
            rises: json(&stored.rises)?,
            response: stored.response.as_ref().map(json).transpose()?,
            triage: json(&stored.triage)?,
        })
    }
}

/// Returns a row's finding; `None` when its documents are not understood.
fn stored(row: &Row<'_>) -> rusqlite::Result<Option<Stored>> {
    let (finding, rises, triage): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(4)?);
    let response: Option<String> = row.get(3)?;
    let read = || {
        Some(Stored {
            sequence: 0,
            finding: saved::finding(&finding)?,
            rises: serde_json::from_str(&rises).ok()?,
            response: match &response {
                Some(response) => Some(serde_json::from_str(response).ok()?),
                None => None,
            },
            triage: serde_json::from_str(&triage).ok()?,
        })
    };
    Ok(read())
}
