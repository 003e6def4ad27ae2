//! The thread that owns the file of runs, and what it is asked: nothing of it is done in a frame.
//!
//! Invariants: requests are carried out in their order; of several plans that wait only the last is made; a panic ends one request; the
//! end of the program waits for what is still to be written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::base::geom::Extent;
use crate::base::pixels::Picture;
use crate::engine::Wake;
use crate::job::spec::GenerateSpec;
use crate::store::preferences::UserFolders;
use crate::store::presets;
use crate::store::runs::{CellPicture, NewRun, RunCell, RunId, RunSummary, Runs, StoredRun};
use crate::store::sheet::{self, CellFacts};
use crate::workbench::grid::{AxisText, Grid, Sources};
use crate::workbench::named::{Chosen, KnownFile, NamedFiles};

/// This many runs are listed.
const LISTED: usize = 200;

/// What the axes come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The grid.
    pub grid: Grid,
    /// How many of its pictures were made before.
    pub existing: usize,
    /// How long the others will take, in seconds; `None` before anything was measured with this model.
    pub seconds: Option<f64>,
}

/// A finished grid that is to be written to files.
pub(super) struct Export {
    pub(super) path: PathBuf,
    pub(super) run: NewRun,
    pub(super) facts: Vec<CellFacts>,
    pub(super) pictures: Vec<Option<Picture>>,
}

/// The grid that axes are to come to.
pub(super) struct WantedPlan {
    pub(super) base: GenerateSpec,
    pub(super) axes: Vec<AxisText>,
    /// Names and texts of the library's templates.
    pub(super) templates: Vec<(String, String)>,
    /// The LoRAs and learned words that there are.
    pub(super) known: Vec<KnownFile>,
    pub(super) chosen: Chosen,
}

/// What the thread is asked.
pub(super) enum Ask {
    List,
    Plan {
        number: u64,
        wanted: Box<WantedPlan>,
    },
    Begin(Box<NewRun>),
    Open {
        id: RunId,
        resume: bool,
    },
    Remove(RunId),
    /// Keeps pictures that were made without a grid.
    Keep {
        run: Box<NewRun>,
        pictures: Vec<CellPicture>,
    },
    Put {
        cell: Box<RunCell>,
        made: Box<CellPicture>,
    },
    PutEmbedding {
        job: String,
        model: String,
        vector: Vec<f32>,
    },
    PutScores {
        model: String,
        scores: Vec<(String, String, f32)>,
    },
    Difference {
        number: u64,
        first: Picture,
        second: Picture,
    },
    Export(Box<Export>),
}

/// What it answers.
pub(super) enum Answer {
    Listed(Vec<RunSummary>),
    Planned {
        number: u64,
        plan: Result<Plan, String>,
    },
    /// A run; `stored` says of each cell whether its picture is there. Pictures follow.
    Opened {
        run: Box<StoredRun>,
        stored: Vec<bool>,
        seconds_per_cost: Option<f64>,
        is_running: bool,
    },
    Cell {
        run: RunId,
        job: String,
        made: Box<CellPicture>,
        embeddings: Vec<(String, Vec<f32>)>,
        scores: Vec<(String, String, f32)>,
    },
    NotStored {
        text: String,
    },
    Difference {
        number: u64,
        picture: Option<Picture>,
        mean: f32,
    },
    Exported {
        paths: Vec<PathBuf>,
    },
    Warning(String),
    Failed(String),
}

/// The handle to the thread.
pub(super) struct Archive {
    sender: Option<Sender<Ask>>,
    receiver: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Archive {
    /// Starts the thread over the user's file; without one, runs are kept as long as the program runs.
    pub(super) fn spawn(folders: Option<UserFolders>, wake: Wake) -> Self {
        let (sender, requests) = channel();
        let (answers, receiver) = channel();
        let failed = answers.clone();
        let keeper = move || {
            let send = |answer: Answer| {
                // The window may have closed meanwhile.
                let _ = answers.send(answer);
                wake();
            };
            let Some(runs) = open(folders.as_ref().map(UserFolders::runs_file), &send) else { return };
            let presets = folders.map(|folders| folders.presets);
            Keeper { runs, files: NamedFiles::new(presets.clone()), presets, send: &send }.run(&requests);
        };
        let thread = std::thread::Builder::new().name("maquette-runs".to_owned()).spawn(keeper);
        if let Err(error) = &thread {
            let text = format!("the system cannot start a thread for the runs: {error}");
            // The receiver lives in self, so sending cannot fail.
            let _ = failed.send(Answer::Failed(text));
        }
        Self { sender: Some(sender), receiver, thread: thread.ok() }
    }

    pub(super) fn ask(&self, ask: Ask) {
        if let Some(sender) = &self.sender {
            // Without the thread there is nobody to ask; that was said when it could not be started.
            let _ = sender.send(ask);
        }
    }

    pub(super) fn poll(&self) -> Option<Answer> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the runs panicked outside a request");
        }
    }
}

/// The file; one in memory if it cannot be used, so that comparing works all the same.
fn open(file: Option<PathBuf>, send: &dyn Fn(Answer)) -> Option<Runs> {
    let opened = match file {
        Some(file) => Runs::open(&file),
        None => Runs::in_memory().map(|runs| (runs, None)),
    };
    match opened {
        Ok((runs, warning)) => {
            warning.into_iter().for_each(|text| send(Answer::Warning(text)));
            Some(runs)
        }
        Err(error) => {
            send(Answer::Warning(format!("{error}. Until then, runs are kept only as long as the window is open")));
            Runs::in_memory().ok()
        }
    }
}

struct Keeper<'a> {
    runs: Runs,
    presets: Option<PathBuf>,
    files: NamedFiles,
    send: &'a dyn Fn(Answer),
}

impl Keeper<'_> {
    fn run(&mut self, requests: &Receiver<Ask>) {
        while let Ok(first) = requests.recv() {
            let mut waiting: Vec<Ask> = std::iter::once(first).chain(requests.try_iter()).collect();
            let newest = waiting.iter().rposition(|ask| matches!(ask, Ask::Plan { .. }));
            let mut at = 0;
            waiting.retain(|ask| {
                let stays = !matches!(ask, Ask::Plan { .. }) || newest == Some(at);
                at += 1;
                stays
            });
            for ask in waiting {
                let done = catch_unwind(AssertUnwindSafe(|| self.carry_out(ask)));
                let bug = "the program failed at the file of runs; this is a bug, please report it";
                if let Err(text) = done.unwrap_or_else(|_| Err(bug.to_owned())) {
                    (self.send)(Answer::Failed(text));
                }
            }
        }
    }

    fn carry_out(&mut self, ask: Ask) -> Result<(), String> {
        let explain = |error: crate::store::runs::RunsError| error.to_string();
        match ask {
            Ask::List => self.list()?,
            Ask::Plan { number, wanted } => {
                let plan = self.plan(*wanted);
                (self.send)(Answer::Planned { number, plan });
            }
            Ask::Begin(run) => {
                let id = self.runs.add(&run).map_err(explain)?;
                self.open(StoredRun { id, run: *run }, true)?;
                self.list()?;
            }
            Ask::Open { id, resume } => {
                let run = self.runs.run(id).map_err(explain)?;
                self.open(run, resume)?;
            }
            Ask::Remove(id) => {
                self.runs.remove(id).map_err(explain)?;
                self.list()?;
            }
            Ask::Keep { run, pictures } => {
                self.runs.add(&run).map_err(explain)?;
                for (cell, made) in run.cells.iter().zip(&pictures) {
                    self.runs.put_picture(cell, made).map_err(explain)?;
                }
                self.list()?;
            }
            Ask::Put { cell, made } => {
                if let Err(error) = self.runs.put_picture(&cell, &made) {
                    (self.send)(Answer::NotStored { text: error.to_string() });
                }
                self.list()?;
            }
            Ask::PutEmbedding { job, model, vector } => {
                self.runs.put_embedding(&job, &model, &vector).map_err(explain)?;
            }
            Ask::PutScores { model, scores } => {
                for (job, text, value) in scores {
                    self.runs.put_score(&job, &model, &text, value).map_err(explain)?;
                }
            }
            Ask::Difference { number, first, second } => {
                let (picture, mean) = difference(&first, &second);
                (self.send)(Answer::Difference { number, picture, mean });
            }
            Ask::Export(export) => {
                let Export { path, run, facts, pictures } = *export;
                let paths = sheet::write(&run, &pictures, &facts, &path)?;
                (self.send)(Answer::Exported { paths });
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<(), String> {
        (self.send)(Answer::Listed(self.runs.list(LISTED).map_err(|error| error.to_string())?));
        Ok(())
    }

    fn plan(&mut self, wanted: WantedPlan) -> Result<Plan, String> {
        let WantedPlan { base, axes, templates, known, chosen } = wanted;
        let (wildcards, _) = presets::all_wildcards(self.presets.as_deref());
        let sources = Sources { templates: &templates, wildcards: &wildcards, dice: base.sampling.seed };
        let mut grid = Grid::read(&base, &axes, &sources).map_err(|error| error.to_string())?;
        self.files.look_anew(known);
        grid.change(|spec| self.files.fit(spec, chosen))?;
        let mut left = 0.0;
        let mut existing = 0;
        for cell in &grid.cells {
            match self.runs.has_picture(&cell.job).map_err(|error| error.to_string())? {
                true => existing += 1,
                false => left += cell.cost,
            }
        }
        let pace = self.runs.seconds_per_cost(&base.model.0).map_err(|error| error.to_string())?;
        Ok(Plan { grid, existing, seconds: pace.map(|pace| pace * left) })
    }

    fn open(&self, run: StoredRun, is_running: bool) -> Result<(), String> {
        let explain = |error: crate::store::runs::RunsError| error.to_string();
        let (id, jobs) = (run.id, run.run.cells.iter().map(|cell| cell.job.clone()).collect::<Vec<_>>());
        let model = run.run.cells.first().map(|cell| cell.spec.model.0.clone()).unwrap_or_default();
        let stored =
            jobs.iter().map(|job| self.runs.has_picture(job).map_err(explain)).collect::<Result<Vec<_>, _>>()?;
        let seconds_per_cost = self.runs.seconds_per_cost(&model).map_err(explain)?;
        (self.send)(Answer::Opened { run: Box::new(run), stored: stored.clone(), seconds_per_cost, is_running });
        for (job, _) in jobs.into_iter().zip(stored).filter(|(_, is_stored)| *is_stored) {
            if let Some(made) = self.runs.picture(&job).map_err(explain)? {
                let embeddings = self.runs.embeddings(&job).map_err(explain)?;
                let scores = self.runs.scores(&job).map_err(explain)?;
                (self.send)(Answer::Cell { run: id, job, made: Box::new(made), embeddings, scores });
            }
        }
        Ok(())
    }
}

/// How far two pictures of one size are apart: four times the difference as a picture, and its mean of 255.
fn difference(first: &Picture, second: &Picture) -> (Option<Picture>, f32) {
    let extent: Extent = first.extent();
    if extent != second.extent() {
        return (None, 0.0);
    }
    let apart: Vec<u8> = first.rgb().iter().zip(second.rgb()).map(|(a, b)| a.abs_diff(*b)).collect();
    let mean = apart.iter().map(|value| u64::from(*value)).sum::<u64>() as f32 / apart.len().max(1) as f32;
    let shown = apart.into_iter().map(|value| value.saturating_mul(4)).collect();
    (Picture::from_rgb(extent, shown).ok(), mean)
}
