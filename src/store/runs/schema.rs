//! The tables of the database of runs, and how an older file becomes a newer one.
//!
//! Invariant: each step of [`STEPS`] runs in one transaction with the number that says it was taken, so that a file is always of a whole
//! version. Steps are only ever added.

use rusqlite::Connection;

/// What leads from version `n` to version `n + 1`; an empty file is version 0.
pub(super) const STEPS: &[&str] = &[
    // A picture is stored under the hash of the request that made it: a cell is done when there is a picture for its job.
    "CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        made_at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        axes TEXT NOT NULL,
        score_text TEXT
    ) STRICT;
    CREATE TABLE cells (
        run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
        x INTEGER NOT NULL,
        y INTEGER NOT NULL,
        z INTEGER NOT NULL,
        job TEXT NOT NULL,
        spec TEXT NOT NULL,
        cost REAL NOT NULL,
        PRIMARY KEY (run, z, y, x)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cells_by_job ON cells(job);
    CREATE TABLE pictures (
        job TEXT PRIMARY KEY,
        png BLOB NOT NULL,
        model TEXT NOT NULL,
        model_sha256 TEXT NOT NULL,
        cost REAL NOT NULL,
        seconds REAL NOT NULL,
        made_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE embeddings (
        job TEXT NOT NULL REFERENCES pictures(job) ON DELETE CASCADE,
        model TEXT NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (job, model)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE scores (
        job TEXT NOT NULL REFERENCES pictures(job) ON DELETE CASCADE,
        model TEXT NOT NULL,
        text TEXT NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (job, model, text)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE blobs (
        sha256 TEXT PRIMARY KEY,
        bytes BLOB NOT NULL
    ) STRICT;",
];

/// Takes the steps that `connection`'s file lacks; `Err(version)` in the inner result if it is of a version that these steps do not know.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<Result<(), usize>> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > steps.len() {
        return Ok(Err(version));
    }
    for (number, step) in steps.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Another process may have taken the step while this one waited for the lock.
        let now: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if now == number as i64 {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        }
        transaction.commit()?;
    }
    Ok(Ok(()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_older_version_keeps_its_rows_through_the_steps() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(migrate(&mut connection, STEPS).unwrap(), Ok(()));
        connection.execute("INSERT INTO blobs (sha256, bytes) VALUES ('a', x'01')", []).unwrap();
        let mut longer = STEPS.to_vec();
        longer.push("ALTER TABLE blobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'png'");
        assert_eq!(migrate(&mut connection, &longer).unwrap(), Ok(()));
        assert_eq!(migrate(&mut connection, &longer).unwrap(), Ok(()), "no step is taken twice");
        let kind: String =
            connection.query_row("SELECT kind FROM blobs WHERE sha256 = 'a'", [], |row| row.get(0)).unwrap();
        assert_eq!(kind, "png");
        assert_eq!(migrate(&mut connection, STEPS).unwrap(), Err(longer.len()), "too new for the shorter list");
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (b INTEGER)", "CREATE TABLE c (d INTEGER); INSERT INTO nowhere VALUES (1);"];
        assert!(migrate(&mut connection, &steps).is_err());
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }
}
