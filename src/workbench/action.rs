//! Everything that a person can trigger without arguments. Menus, shortcuts and the command palette are made from it.

use super::command::{Command, PanelKind, ViewCommand};
use super::compare::CompareRequest;
use super::library::LibraryCommand;
use super::tools::Tool;
use super::{PreviewTarget, Workbench};
use crate::document::{Edit, PromptTab, PromptTabs};
use crate::store::preferences::Theme;

/// A key with its modifiers, independent of any toolkit. `ctrl` means Command on a Mac.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortcut {
    /// With Ctrl (Command on a Mac).
    pub ctrl: bool,
    /// With Shift.
    pub shift: bool,
    /// The key, by the name that egui gives it: "Z", "OpenBracket", "Enter".
    pub key: &'static str,
}

const fn key(key: &'static str) -> Option<Shortcut> {
    Some(Shortcut { ctrl: false, shift: false, key })
}

const fn ctrl(key: &'static str) -> Option<Shortcut> {
    Some(Shortcut { ctrl: true, shift: false, key })
}

const fn ctrl_shift(key: &'static str) -> Option<Shortcut> {
    Some(Shortcut { ctrl: true, shift: true, key })
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident: $text:literal, $help:literal, $shortcut:expr;)*) => {
        /// Everything that a person can trigger without arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* #[doc = $help] $name,)*
        }

        impl Action {
            /// Every action, in the order of the palette.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name, and what it does in a sentence.
            pub fn text(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => ($text, $help),)*
                }
            }

            /// The key that triggers it.
            pub fn shortcut(self) -> Option<Shortcut> {
                match self {
                    $(Self::$name => $shortcut,)*
                }
            }
        }
    };
}

actions! {
    Open: "Open picture…", "Puts a picture file on the canvas.", ctrl("O");
    SaveCanvas: "Save canvas…", "Writes the picture on the canvas as a PNG file.", ctrl("S");
    SaveResult: "Save picture…", "Writes the chosen picture as a PNG file, with the job that made it inside.", ctrl_shift("S");
    SaveMask: "Save mask…", "Writes the mask as a PNG file: white is inside.", None;
    OpenSample: "Open sample picture", "Puts a picture that ships with the program on the canvas.", None;
    Undo: "Undo", "Takes the last change back.", ctrl("Z");
    Redo: "Redo", "Makes the change again that was taken back.", ctrl_shift("Z");
    Generate: "Generate", "Makes a picture from the prompt.", ctrl("Enter");
    GenerateFour: "Generate four", "Makes four pictures with four seeds.", ctrl_shift("Enter");
    SendToCanvas: "Send preview to canvas", "Puts the picture of the preview on the canvas.", ctrl_shift("C");
    NewSeed: "New seed", "Throws the dice for another picture of the same prompt.", ctrl("R");
    ToggleSeedLock: "Lock seed", "Keeps the seed from one generation to the next.", None;
    ToggleLivePreview: "Live preview", "Lets a picture form while you type.", None;
    TargetNewPicture: "Preview a new picture", "The preview makes a new picture.", None;
    TargetInpaint: "Preview inpainting", "The preview repaints the canvas under the mask.", None;
    CancelAll: "Cancel all jobs", "Stops everything that runs or waits.", ctrl("Period");
    ToggleLens: "Lens", "Shows where in the picture the phrase is.", ctrl("L");
    ToggleLensFollow: "Lens follows the prompt", "The lens looks for the phrase under the caret.", None;
    ToggleMarksCount: "Marks count", "Lens and zero-shot see the marks as part of the picture.", ctrl("M");
    ToolPan: "Pan", "Moves the view.", key("H");
    ToolBrush: "Mask brush", "Paints what inpainting may change.", key("B");
    ToolEraser: "Mask eraser", "Takes away from the mask.", key("E");
    ToolRectangle: "Mask rectangle", "Adds a rectangle to the mask.", key("R");
    ToolEllipse: "Mask ellipse", "Adds an ellipse to the mask.", key("O");
    ToolMarkBox: "Mark box", "Draws a coloured box on the picture.", key("1");
    ToolMarkEllipse: "Mark ellipse", "Draws a coloured ellipse on the picture.", key("2");
    ToolMarkBrush: "Mark brush", "Draws a coloured stroke on the picture.", key("3");
    BrushSmaller: "Smaller brush", "Makes brush and eraser smaller.", key("OpenBracket");
    BrushLarger: "Larger brush", "Makes brush and eraser larger.", key("CloseBracket");
    ClearMask: "Clear mask", "Empties the mask.", None;
    InvertMask: "Invert mask", "Swaps inside and outside of the mask.", None;
    RemoveLastMark: "Remove last mark", "Removes the topmost mark.", None;
    ClearMarks: "Clear marks", "Removes all marks.", None;
    Fit: "Fit picture", "Shows the whole picture.", key("F");
    ActualSize: "Actual size", "Shows the picture at 100 %.", key("0");
    ZoomIn: "Zoom in", "Enlarges what the canvas shows.", key("Plus");
    ZoomOut: "Zoom out", "Shows more of the canvas.", key("Minus");
    FocusCanvas: "Go to canvas", "Puts the keyboard on the canvas; the arrow keys move the view.", None;
    FocusPreview: "Go to preview", "Puts the keyboard into the preview.", None;
    FocusPrompt: "Edit prompt", "Puts the keyboard into the prompt.", ctrl("P");
    FocusLens: "Edit lens phrase", "Puts the keyboard into the lens.", ctrl_shift("F");
    FindInPrompt: "Find in prompt", "Shows where words are in the prompts.", ctrl("F");
    ShowEncoder: "What the encoder gets", "Shows what becomes of the prompt: templates, what is drawn, the schedule, weights, chunks and tokens.", None;
    NewPrompt: "New prompt", "Opens an empty prompt as a tab.", ctrl("T");
    DuplicatePrompt: "Duplicate prompt", "Opens a copy of the prompt as a tab.", ctrl_shift("T");
    ClosePrompt: "Close prompt", "Closes the prompt's tab.", ctrl_shift("W");
    NextPrompt: "Next prompt", "Goes to the next prompt's tab.", ctrl("PageDown");
    ToggleChips: "Prompt as chips", "Shows the phrases of the prompt as chips to drag, weigh and switch off.", None;
    FocusZeroShot: "Show zero-shot", "Puts the keyboard into the zero-shot panel.", None;
    FocusLibrary: "Show library", "Puts the keyboard into the library: modifiers, templates, styles, wildcards and lists.", None;
    ImportLibrary: "Import into the library…", "Reads styles, wildcards, modifiers or class templates from a file of this or another program.", None;
    WriteStack: "Write templates into the prompt", "Puts what templates and styles make of the prompt into the prompt, and takes them off.", None;
    ClearStack: "Take off all templates", "Takes all templates and styles off the prompt.", None;
    FocusModels: "Show models", "Puts the keyboard into the models.", None;
    FocusSteering: "Show steering", "Puts the keyboard into LoRAs and ControlNets.", None;
    FocusJobs: "Show jobs", "Puts the keyboard into the jobs.", None;
    FocusCompare: "Show compare", "Puts the keyboard into the compare panel.", None;
    PauseGrid: "Pause grid", "Stops making the pictures of the grid; what is made stays, and it can be resumed, also after a restart.", None;
    ResumeGrid: "Resume grid", "Goes on with the grid that is shown, or with the one that was paused last.", None;
    FocusNotices: "Show notices", "Puts the keyboard into the notices.", None;
    ThemeSystem: "Theme of the system", "Light or dark as the system says.", None;
    ThemeLight: "Light theme", "Light surfaces.", None;
    ThemeDark: "Dark theme", "Dark surfaces.", None;
    ResetLayout: "Reset layout", "Puts all panels back in their places.", None;
    AddModels: "Add models…", "Remembers a folder or file with models; they are used where they lie.", None;
    ReleaseMemory: "Release memory", "Drops all loaded models; they load again when needed.", None;
    Palette: "Command palette…", "Finds and runs any command.", ctrl("K");
    About: "About Maquette", "Shows the version, licences and the models.", None;
    Quit: "Quit", "Closes the window.", ctrl("Q");
}

impl Action {
    /// The command that it stands for right now; `None` if it makes no sense right now.
    pub fn resolve(self, workbench: &Workbench) -> Option<Command> {
        let has_canvas = workbench.document().canvas.is_some();
        let when = |possible: bool, command: Command| possible.then_some(command);
        match self {
            Self::Undo => when(workbench.history().undo_name().is_some(), Command::Undo),
            Self::Redo => when(workbench.history().redo_name().is_some(), Command::Redo),
            Self::SaveCanvas => when(has_canvas, Command::View(ViewCommand::SaveDialog)),
            Self::SaveResult => {
                workbench.preview().selected().map(|index| Command::View(ViewCommand::SaveResultDialog(index)))
            }
            Self::SaveMask => when(has_mask(workbench), Command::View(ViewCommand::SaveMaskDialog)),
            Self::OpenSample => next_sample(workbench),
            Self::Generate => Some(Command::Generate { count: 1 }),
            Self::GenerateFour => Some(Command::Generate { count: 4 }),
            Self::SendToCanvas => when(workbench.preview().shown().is_some(), Command::SendToCanvas(None)),
            Self::NewSeed => Some(Command::NewSeed),
            Self::NewPrompt => Some(Command::EditApart(Edit::AddPrompt(PromptTab::default()))),
            Self::DuplicatePrompt => {
                let PromptTabs { mut tabs, chosen, .. } = workbench.document().prompt_tabs();
                Some(Command::EditApart(Edit::AddPrompt(tabs.swap_remove(chosen))))
            }
            Self::ClosePrompt => {
                let document = workbench.document();
                when(document.prompt_count() > 1, Command::EditApart(Edit::ClosePrompt(document.tab)))
            }
            Self::NextPrompt => {
                let document = workbench.document();
                let next = (document.tab + 1) % document.prompt_count();
                when(document.prompt_count() > 1, Command::EditApart(Edit::SelectPrompt(next)))
            }
            Self::TargetNewPicture => Some(Command::SetPreviewTarget(PreviewTarget::NewPicture)),
            Self::TargetInpaint => Some(Command::SetPreviewTarget(PreviewTarget::Inpaint)),
            Self::CancelAll => when(!workbench.jobs().active().is_empty(), Command::CancelAll),
            Self::ClearMask => when(has_canvas, Command::Edit(Edit::ClearMask)),
            Self::InvertMask => when(has_canvas, Command::Edit(Edit::InvertMask)),
            Self::RemoveLastMark => when(has_marks(workbench), Command::Edit(Edit::RemoveLastMark)),
            Self::ClearMarks => when(has_marks(workbench), Command::Edit(Edit::ClearMarks)),
            Self::BrushSmaller => Some(Command::SetBrushRadius(workbench.tools().radius() / 1.25)),
            Self::BrushLarger => Some(Command::SetBrushRadius(workbench.tools().radius() * 1.25)),
            Self::ReleaseMemory => Some(Command::ReleaseMemory),
            Self::WriteStack => when(has_stack(workbench), Command::Library(LibraryCommand::WriteStack)),
            Self::ClearStack => when(has_stack(workbench), Command::Library(LibraryCommand::ClearStack)),
            Self::PauseGrid => {
                let is_running = running_table(workbench);
                when(is_running, Command::Compare(CompareRequest::Pause))
            }
            Self::ResumeGrid => resumed(workbench).map(Command::Compare),
            _ => self.tool().map(Command::SetTool).or_else(|| self.view()).or_else(|| self.preference(workbench)),
        }
    }

    /// Whether it is a switch that is on, a choice that is made; `None` if it is neither.
    pub fn is_on(self, workbench: &Workbench) -> Option<bool> {
        let preferences = workbench.preferences();
        match self {
            Self::ToggleLens => Some(preferences.lens_on),
            Self::ToggleLensFollow => Some(preferences.lens_follows_prompt),
            Self::ToggleMarksCount => Some(preferences.marks_count),
            Self::ToggleLivePreview => Some(preferences.live_preview),
            Self::ToggleSeedLock => Some(preferences.seed_locked),
            Self::ToggleChips => Some(preferences.prompt_chips),
            Self::ThemeSystem => Some(preferences.theme == Theme::System),
            Self::ThemeLight => Some(preferences.theme == Theme::Light),
            Self::ThemeDark => Some(preferences.theme == Theme::Dark),
            Self::TargetNewPicture => Some(workbench.preview().target() == PreviewTarget::NewPicture),
            Self::TargetInpaint => Some(workbench.preview().target() == PreviewTarget::Inpaint),
            _ => self.tool().map(|tool| workbench.tools().tool() == tool),
        }
    }

    /// The action that takes `tool` in hand.
    pub fn of_tool(tool: Tool) -> Self {
        match tool {
            Tool::Pan => Self::ToolPan,
            Tool::Brush => Self::ToolBrush,
            Tool::Eraser => Self::ToolEraser,
            Tool::Rectangle => Self::ToolRectangle,
            Tool::Ellipse => Self::ToolEllipse,
            Tool::MarkBox => Self::ToolMarkBox,
            Tool::MarkEllipse => Self::ToolMarkEllipse,
            Tool::MarkBrush => Self::ToolMarkBrush,
        }
    }

    fn tool(self) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| Self::of_tool(*tool) == self)
    }

    fn view(self) -> Option<Command> {
        Some(Command::View(match self {
            Self::Open => ViewCommand::OpenDialog,
            Self::AddModels => ViewCommand::AddModelsDialog,
            Self::ImportLibrary => ViewCommand::ImportLibraryDialog,
            Self::Fit => ViewCommand::Fit,
            Self::ActualSize => ViewCommand::ActualSize,
            Self::ZoomIn => ViewCommand::ZoomBy(1.25),
            Self::ZoomOut => ViewCommand::ZoomBy(0.8),
            Self::FocusCanvas => ViewCommand::Focus(PanelKind::Canvas),
            Self::FocusPreview => ViewCommand::Focus(PanelKind::Preview),
            Self::FocusPrompt => ViewCommand::Focus(PanelKind::Prompt),
            Self::FocusLens => ViewCommand::Focus(PanelKind::Lens),
            Self::FindInPrompt => ViewCommand::FindInPrompt,
            Self::ShowEncoder => ViewCommand::ShowEncoder,
            Self::FocusZeroShot => ViewCommand::Focus(PanelKind::ZeroShot),
            Self::FocusLibrary => ViewCommand::Focus(PanelKind::Library),
            Self::FocusModels => ViewCommand::Focus(PanelKind::Models),
            Self::FocusSteering => ViewCommand::Focus(PanelKind::Steering),
            Self::FocusJobs => ViewCommand::Focus(PanelKind::Jobs),
            Self::FocusCompare => ViewCommand::Focus(PanelKind::Compare),
            Self::FocusNotices => ViewCommand::Focus(PanelKind::Notices),
            Self::ResetLayout => ViewCommand::ResetLayout,
            Self::Palette => ViewCommand::Palette,
            Self::About => ViewCommand::About,
            Self::Quit => ViewCommand::Quit,
            _ => return None,
        }))
    }

    fn preference(self, workbench: &Workbench) -> Option<Command> {
        let mut changed = workbench.preferences().clone();
        match self {
            Self::ToggleLens => changed.lens_on = !changed.lens_on,
            Self::ToggleLensFollow => changed.lens_follows_prompt = !changed.lens_follows_prompt,
            Self::ToggleMarksCount => changed.marks_count = !changed.marks_count,
            Self::ToggleLivePreview => changed.live_preview = !changed.live_preview,
            Self::ToggleSeedLock => changed.seed_locked = !changed.seed_locked,
            Self::ToggleChips => changed.prompt_chips = !changed.prompt_chips,
            Self::ThemeSystem => changed.theme = Theme::System,
            Self::ThemeLight => changed.theme = Theme::Light,
            Self::ThemeDark => changed.theme = Theme::Dark,
            _ => return None,
        }
        Some(Command::SetPreferences(Box::new(changed)))
    }
}

fn has_marks(workbench: &Workbench) -> bool {
    workbench.document().canvas.as_ref().is_some_and(|canvas| !canvas.marks.is_empty())
}

fn has_stack(workbench: &Workbench) -> bool {
    !workbench.document().stack.is_empty()
}

fn running_table(workbench: &Workbench) -> bool {
    workbench.compare().table().is_some_and(|table| table.is_running() && !table.is_finished())
}

/// What takes up the table that is shown, or else the run that was paused last.
fn resumed(workbench: &Workbench) -> Option<CompareRequest> {
    let compare = workbench.compare();
    match compare.table() {
        _ if running_table(workbench) => None,
        Some(table) if !table.is_finished() => Some(CompareRequest::Resume),
        _ => compare.paused().max_by_key(|run| run.made_at).map(|run| CompareRequest::TakeUp(run.id)),
    }
}

fn has_mask(workbench: &Workbench) -> bool {
    workbench.document().canvas.as_ref().is_some_and(|canvas| !canvas.mask.is_empty())
}

/// The sample after the one on the canvas, in turn.
fn next_sample(workbench: &Workbench) -> Option<Command> {
    let names = crate::store::samples::names();
    let shown = workbench.document().canvas.as_ref().map(|canvas| canvas.name.as_str());
    let next = names.iter().position(|name| Some(*name) == shown).map_or(0, |at| (at + 1) % names.len());
    names.get(next).map(|name| Command::File(super::FileCommand::OpenSample((*name).to_owned())))
}
