//! The runs: what was asked of the engine on purpose, its pictures and their scores, in one SQLite file that window and command line
//! share.
//!
//! Invariants: a picture and the row that says it is done are written in one transaction, so that a killed program leaves a cell done or
//! not begun; a picture is stored once, under the hash of its request, whatever runs ask for it; a damaged file is moved aside, never
//! deleted. Belongs on a background thread: every function here reads or writes a file.

mod record;
mod schema;
mod specs;

pub use record::{AxisLabels, CellPicture, NewRun, RunCell, RunId, RunKind, RunSummary, StoredRun};

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::pictures;

/// How long to wait for another program that writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a run could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunsError {
    /// The file was written by a later version.
    #[error("the runs were written by a newer Maquette (version {version} of their file); use that one, or move the file away: {}", .path.display())]
    TooNew {
        /// The version that the file says.
        version: usize,
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened or made.
    #[error("the runs cannot be opened ({reason}): {}", .path.display())]
    Unusable {
        /// What the system said.
        reason: String,
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("the runs cannot be read or written ({0}); is the disk full, or the file damaged?")]
    Failed(String),
    /// There is no such run, or a part of it is missing.
    #[error("this run cannot be continued: {0}")]
    Incomplete(String),
}

impl From<rusqlite::Error> for RunsError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The open file.
pub struct Runs {
    connection: Connection,
}

impl Runs {
    /// Opens or makes the file; its folder is made, too. A damaged file is moved aside, and a text says where to.
    ///
    /// # Errors
    /// If it cannot be opened or made, or is of a later version.
    pub fn open(path: &Path) -> Result<(Self, Option<String>), RunsError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| unusable(path, &error))?;
        }
        match Self::open_whole(path) {
            Ok(runs) => Ok((runs, None)),
            Err(Opening::Refused(error)) => Err(error),
            Err(Opening::Damaged(reason)) => {
                let aside = move_aside(path).map_err(|error| unusable(path, &error))?;
                let runs = Self::open_whole(path).map_err(|opening| match opening {
                    Opening::Refused(error) => error,
                    Opening::Damaged(reason) => unusable(path, &reason),
                })?;
                let text = format!(
                    "the file with the earlier runs is damaged ({reason}); a new one is begun, and the damaged one is kept as {}",
                    aside.display()
                );
                Ok((runs, Some(text)))
            }
        }
    }

    /// A file that is never written to disk.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn in_memory() -> Result<Self, RunsError> {
        Self::prepare(Connection::open_in_memory()?, Path::new("(in memory)")).map_err(|opening| match opening {
            Opening::Refused(error) => error,
            Opening::Damaged(reason) => RunsError::Failed(reason),
        })
    }

    fn open_whole(path: &Path) -> Result<Self, Opening> {
        let connection = Connection::open(path).map_err(|error| Opening::of(path, error))?;
        Self::prepare(connection, path)
    }

    fn prepare(mut connection: Connection, path: &Path) -> Result<Self, Opening> {
        let sort = |error: rusqlite::Error| Opening::of(path, error);
        connection.busy_timeout(PATIENCE).map_err(sort)?;
        let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sort)?;
        if health != "ok" {
            return Err(Opening::Damaged(health));
        }
        // Readers do not wait for the writer, and what is committed survives a killed program.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sort)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(sort)?;
        match schema::migrate(&mut connection, schema::STEPS).map_err(sort)? {
            Ok(()) => Ok(Self { connection }),
            Err(version) => Err(Opening::Refused(RunsError::TooNew { version, path: path.to_owned() })),
        }
    }

    /// Writes a run down, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, run: &NewRun) -> Result<RunId, RunsError> {
        let axes = serde_json::to_string(&run.axes).map_err(|error| RunsError::Failed(error.to_string()))?;
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO runs (made_at, kind, title, axes, score_text) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![now(), run.kind.id(), run.title, axes, run.score_text],
        )?;
        let id = transaction.last_insert_rowid();
        for cell in &run.cells {
            let (json, blobs) = specs::to_record(&cell.spec).map_err(RunsError::Failed)?;
            let [x, y, z] = cell.at.map(|at| at as i64);
            transaction
                .prepare_cached(
                    "INSERT INTO cells (run, x, y, z, job, spec, cost) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![id, x, y, z, cell.job, json, cell.cost])?;
            for (sha256, bytes) in blobs {
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO blobs (sha256, bytes) VALUES (?1, ?2)")?
                    .execute(params![sha256, bytes])?;
            }
        }
        transaction.commit()?;
        Ok(RunId(id))
    }

    /// The newest runs, newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn list(&self, most: usize) -> Result<Vec<RunSummary>, RunsError> {
        let mut statement = self.connection.prepare(
            "SELECT runs.id, kind, title, runs.made_at, count(pictures.job), count(*)
             FROM runs JOIN cells ON cells.run = runs.id LEFT JOIN pictures ON pictures.job = cells.job
             GROUP BY runs.id ORDER BY runs.id DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([most as i64], |row| {
            let count = |at: usize| row.get::<_, i64>(at).map(|count| usize::try_from(count).unwrap_or(0));
            Ok(RunSummary {
                id: RunId(row.get(0)?),
                kind: RunKind::of_id(&row.get::<_, String>(1)?),
                title: row.get(2)?,
                made_at: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
                done: count(4)?,
                total: count(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A run with all its cells.
    ///
    /// # Errors
    /// If there is no such run, or something that it needs is missing.
    pub fn run(&self, id: RunId) -> Result<StoredRun, RunsError> {
        let head =
            self.connection.query_row("SELECT kind, title, axes, score_text FROM runs WHERE id = ?1", [id.0], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?))
            });
        let head = head.optional()?.ok_or_else(|| RunsError::Incomplete(format!("there is no run {}", id.0)))?;
        let (kind_id, title, axes, score_text) = head;
        let axes = serde_json::from_str(&axes).map_err(|error| RunsError::Incomplete(error.to_string()))?;
        let mut statement =
            self.connection.prepare("SELECT x, y, z, job, spec, cost FROM cells WHERE run = ?1 ORDER BY z, y, x")?;
        let rows = statement.query_map([id.0], |row| {
            let at = [row.get(0)?, row.get(1)?, row.get(2)?].map(|at: i64| usize::try_from(at).unwrap_or(0));
            Ok((at, row.get::<_, String>(3)?, row.get::<_, String>(4)?, row.get(5)?))
        })?;
        let mut cells = Vec::new();
        for row in rows {
            let (at, job, json, cost) = row?;
            let spec = specs::from_record(&json, &|sha256| self.blob(sha256)).map_err(RunsError::Incomplete)?;
            cells.push(RunCell { at, job, spec, cost });
        }
        Ok(StoredRun { id, run: NewRun { kind: RunKind::of_id(&kind_id), title, axes, score_text, cells } })
    }

    fn blob(&self, sha256: &str) -> Option<Vec<u8>> {
        self.connection.query_row("SELECT bytes FROM blobs WHERE sha256 = ?1", [sha256], |row| row.get(0)).ok()
    }

    /// Forgets a run, and the pictures that no other run asks for.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn remove(&mut self, id: RunId) -> Result<(), RunsError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM runs WHERE id = ?1", [id.0])?;
        transaction.execute("DELETE FROM pictures WHERE job NOT IN (SELECT job FROM cells)", [])?;
        transaction.commit()?;
        Ok(())
    }

    /// Whether the picture of a request was made.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn has_picture(&self, job: &str) -> Result<bool, RunsError> {
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM pictures WHERE job = ?1")?;
        Ok(statement.exists([job])?)
    }

    /// The picture of a request, if it was made.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub fn picture(&self, job: &str) -> Result<Option<CellPicture>, RunsError> {
        let row =
            self.connection.query_row("SELECT png, model_sha256, seconds FROM pictures WHERE job = ?1", [job], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?))
            });
        let Some((png, model_sha256, seconds)) = row.optional()? else { return Ok(None) };
        let picture =
            pictures::decode_bytes(&png, job.as_ref()).map_err(|error| RunsError::Failed(error.to_string()))?;
        Ok(Some(CellPicture { picture, model_sha256, seconds }))
    }

    /// Writes the picture of `cell` down: from here on the cell is done. A picture that is there already stays.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_picture(&mut self, cell: &RunCell, made: &CellPicture) -> Result<(), RunsError> {
        let record = pictures::job_record(&cell.spec, cell.spec.sampling.seed, &made.model_sha256);
        let png = pictures::to_png(&made.picture, Some(&record)).map_err(RunsError::Failed)?;
        self.connection.execute(
            "INSERT OR IGNORE INTO pictures (job, png, model, model_sha256, cost, seconds, made_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![cell.job, png, cell.spec.model.0, made.model_sha256, cell.cost, made.seconds, now()],
        )?;
        Ok(())
    }

    /// How long a unit of cost takes with this model, judged by its latest pictures; `None` before the first.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn seconds_per_cost(&self, model: &str) -> Result<Option<f64>, RunsError> {
        Ok(self.connection.query_row(
            "SELECT sum(seconds) / sum(cost) FROM
             (SELECT seconds, cost FROM pictures WHERE model = ?1 AND seconds > 0 ORDER BY made_at DESC LIMIT 20)",
            [model],
            |row| row.get(0),
        )?)
    }

    /// The embeddings of a job's picture, by the name of the CLIP model.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn embeddings(&self, job: &str) -> Result<Vec<(String, Vec<f32>)>, RunsError> {
        let mut statement = self.connection.prepare_cached("SELECT model, vector FROM embeddings WHERE job = ?1")?;
        let number = |four: &[u8]| four.try_into().ok().map(f32::from_le_bytes);
        let rows = statement.query_map([job], |row| {
            let bytes: Vec<u8> = row.get(1)?;
            Ok((row.get(0)?, bytes.chunks_exact(4).filter_map(number).collect()))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes the embedding of a job's picture down.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_embedding(&mut self, job: &str, model: &str, vector: &[f32]) -> Result<(), RunsError> {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.connection.execute(
            "INSERT OR REPLACE INTO embeddings (job, model, vector) VALUES (?1, ?2, ?3)",
            params![job, model, bytes],
        )?;
        Ok(())
    }

    /// How well a job's picture fits `text` by a CLIP model: a cosine, if it was computed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn score(&self, job: &str, model: &str, text: &str) -> Result<Option<f32>, RunsError> {
        let mut statement =
            self.connection.prepare_cached("SELECT value FROM scores WHERE job = ?1 AND model = ?2 AND text = ?3")?;
        Ok(statement.query_row([job, model, text], |row| row.get::<_, f64>(0)).optional()?.map(|value| value as f32))
    }

    /// All scores of a job's picture: the CLIP model, the text, the cosine.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn scores(&self, job: &str) -> Result<Vec<(String, String, f32)>, RunsError> {
        let mut statement = self.connection.prepare_cached("SELECT model, text, value FROM scores WHERE job = ?1")?;
        let rows = statement.query_map([job], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, f64>(2)? as f32)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes a score down.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_score(&mut self, job: &str, model: &str, text: &str, value: f32) -> Result<(), RunsError> {
        self.connection.execute(
            "INSERT OR REPLACE INTO scores (job, model, text, value) VALUES (?1, ?2, ?3, ?4)",
            params![job, model, text, f64::from(value)],
        )?;
        Ok(())
    }
}

enum Opening {
    Damaged(String),
    Refused(RunsError),
}

impl Opening {
    fn of(path: &Path, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Refused(unusable(path, &error)),
        }
    }
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> RunsError {
    RunsError::Unusable { reason: reason.to_string(), path: path.to_owned() }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

/// Renames the file, and what SQLite keeps beside it, to a name that is not taken.
fn move_aside(path: &Path) -> std::io::Result<PathBuf> {
    let named = |suffix: &str, ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        name.push(suffix);
        PathBuf::from(name)
    };
    let free = (1..).map(|number| format!(".damaged-{number}")).find(|suffix| !named(suffix, "").exists());
    let suffix = free.unwrap_or_default();
    for ending in ["-wal", "-shm", ""] {
        let from = named("", ending);
        if from.exists() {
            std::fs::rename(from, named(&suffix, ending))?;
        }
    }
    Ok(named(&suffix, ""))
}
