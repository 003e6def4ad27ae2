//! Requests to change something, each with all its data, so that it can be logged, tested and replayed.

use std::path::PathBuf;
use std::sync::Arc;

use super::compare::CompareRequest;
use super::library::LibraryCommand;
use super::notices::{Level, NoticeId};
use super::proposal::Field;
use super::tools::{Gesture, Tool};
use crate::base::geom::Extent;
use crate::document::Edit;
use crate::engine::JobId;
use crate::job::annotation::MarkColour;
use crate::prompt::exchange::Format;
use crate::store::preferences::Preferences;

/// A request to change something.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Change the document.
    Edit(Edit),
    /// Change the document in a step of its own, however soon it follows another.
    EditApart(Edit),
    /// Show what parameters from outside would change, if the text holds any.
    Propose {
        /// "the clipboard", or the name of a file.
        source: String,
        /// The text that may hold parameters.
        text: String,
    },
    /// Take over the parameters that are proposed, but for these.
    ApplyProposal(Vec<Field>),
    /// Forget the parameters that are proposed.
    DropProposal,
    /// The pointer did something on the canvas with the tool in hand.
    Gesture(Gesture),
    /// One step back.
    Undo,
    /// One step forward.
    Redo,
    /// Take a tool in hand.
    SetTool(Tool),
    /// Radius of brush and eraser, in pixels of the picture.
    SetBrushRadius(f32),
    /// Colour of new marks.
    SetMarkColour(MarkColour),
    /// Replace the preferences.
    SetPreferences(Box<Preferences>),
    /// The caret in the prompt moved, in characters.
    PromptCaret(usize),
    /// Read the tokens of the words that hold at a step, counted from 1.
    ShowTokensAt(u32),
    /// Add a modifier to the prompt, or take it out.
    ToggleModifier(String),
    /// Something about the library.
    Library(LibraryCommand),
    /// What the preview shows.
    SetPreviewTarget(PreviewTarget),
    /// Make pictures as a batch job.
    Generate {
        /// How many.
        count: u32,
    },
    /// Put a made picture on the canvas: a result by index, or the current preview.
    SendToCanvas(Option<usize>),
    /// Show a made picture: a result by index, or the live preview.
    SelectResult(Option<usize>),
    /// Forget the made pictures.
    ClearResults,
    /// Throw the dice.
    NewSeed,
    /// Stop a job.
    Cancel(JobId),
    /// Stop all jobs.
    CancelAll,
    /// Remove a notice.
    DismissNotice(NoticeId),
    /// Remove all notices.
    ClearNotices,
    /// Tell the user something.
    Notify {
        /// How bad it is.
        level: Level,
        /// What happened and what to do.
        text: String,
    },
    /// Read or write a file.
    File(FileCommand),
    /// Compare variants.
    Compare(CompareRequest),
    /// Look for models anew.
    ReadModels,
    /// Remember a folder or file with models.
    AddModels(PathBuf),
    /// Drop all loaded models.
    ReleaseMemory,
    /// Something that only the window can do; the workbench ignores it.
    View(ViewCommand),
}

/// Reading and writing pictures.
#[derive(Debug, Clone, PartialEq)]
pub enum FileCommand {
    /// Open a picture file on the canvas.
    Open(PathBuf),
    /// The same of a file that was dropped on the window; what it says of how it was made is proposed.
    OpenDropped(PathBuf),
    /// Open a picture for a ControlNet, by index.
    OpenControl(usize, PathBuf),
    /// Open a picture of the clipboard: four bytes a pixel, straight alpha.
    Paste {
        /// Its size.
        extent: Extent,
        /// Its bytes.
        rgba: LazyBytes,
    },
    /// Open a picture that ships with the program, by its file name.
    OpenSample(String),
    /// Write the picture on the canvas.
    SaveCanvas(PathBuf),
    /// Write a result, by index, with the job that made it inside.
    SaveResult(usize, PathBuf),
    /// Write the mask: white is inside.
    SaveMask(PathBuf),
}

/// Bytes that are made where they are needed: converting a large picture would hold up the frame that asks for it.
#[derive(Clone)]
pub struct LazyBytes(Arc<dyn Fn() -> Vec<u8> + Send + Sync>);

impl LazyBytes {
    /// The bytes that `make` gives; called on a background thread.
    pub fn new(make: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(super) fn make(&self) -> Vec<u8> {
        (self.0)()
    }
}

impl PartialEq for LazyBytes {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for LazyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LazyBytes")
    }
}

/// What the preview makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PreviewTarget {
    /// A new picture.
    #[default]
    NewPicture,
    /// The canvas, repainted under the mask.
    Inpaint,
}

/// The panels of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum PanelKind {
    /// The picture.
    Canvas,
    /// Grids, pairs of results, parts of the prompt.
    Compare,
    /// Prompt and negative prompt.
    Prompt,
    /// Modifiers and templates.
    Library,
    /// The models on this machine.
    Models,
    /// LoRAs, ControlNets and learned words.
    Steering,
    /// The heatmap's phrase and looks.
    Lens,
    /// Classes and templates.
    ZeroShot,
    /// The picture that forms.
    Preview,
    /// What runs.
    Jobs,
    /// What went wrong.
    Notices,
}

impl PanelKind {
    /// Every panel.
    pub const ALL: [Self; 11] = [
        Self::Canvas,
        Self::Compare,
        Self::Prompt,
        Self::Library,
        Self::Models,
        Self::Steering,
        Self::Lens,
        Self::ZeroShot,
        Self::Preview,
        Self::Jobs,
        Self::Notices,
    ];

    /// The panel's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Canvas => "Canvas",
            Self::Compare => "Compare",
            Self::Prompt => "Prompt",
            Self::Library => "Library",
            Self::Models => "Models",
            Self::Steering => "Steering",
            Self::Lens => "Lens",
            Self::ZeroShot => "Zero-shot",
            Self::Preview => "Preview",
            Self::Jobs => "Jobs",
            Self::Notices => "Notices",
        }
    }
}

/// What only the window can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ViewCommand {
    /// Ask for a picture to open.
    OpenDialog,
    /// Ask for a folder or file with models.
    AddModelsDialog,
    /// Ask for a file to read into the library.
    ImportLibraryDialog,
    /// Ask where to write the library in this format; only the user's part of it if true.
    ExportLibraryDialog(Format, bool),
    /// Ask for a picture for a ControlNet, by index.
    ControlPictureDialog(usize),
    /// Ask where to save the canvas.
    SaveDialog,
    /// Ask where to save a result, by index.
    SaveResultDialog(usize),
    /// Ask where to save the mask.
    SaveMaskDialog,
    /// Ask where to write the page and the table of the grid.
    ExportGridDialog,
    /// Show or hide the command palette.
    Palette,
    /// Show the whole picture.
    Fit,
    /// One pixel of the picture is one of the screen.
    ActualSize,
    /// Enlarge what the canvas shows by this factor.
    ZoomBy(f32),
    /// Put all panels back in their places.
    ResetLayout,
    /// Bring a panel to the front and put the keyboard there.
    Focus(PanelKind),
    /// Ask for words to find in the prompts.
    FindInPrompt,
    /// Open what the encoder gets.
    ShowEncoder,
    /// Show what the program is and under which licences.
    About,
    /// Close the window.
    Quit,
}
