//! L6: the window. It shows `&Workbench` and sends commands; nothing here changes anything else, opens files or waits.
//!
//! `app` is a frame as a table of contents, `shell` the window's frame, `panels` what stands in it.

mod about;
mod app;
mod dialogs;
mod dock;
mod frame_log;
mod icons;
mod outbox;
mod palette;
mod panels;
mod proposal;
mod shell;
mod shortcuts;
mod strokes;
mod text_layout;
mod textures;
mod theme;
mod tiles;
mod view;

pub use app::App;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::engine::options::EngineOptions;
use crate::store::preferences::{Preferences, UserFolders};

/// Opens the window and stays until it is closed; `file` is a picture to start with.
///
/// # Errors
/// If there is no display or no renderer works; the message says what to do.
pub fn run(file: Option<PathBuf>, options: EngineOptions) -> anyhow::Result<ExitCode> {
    let folders = UserFolders::of_system();
    let (preferences, warning) = folders.as_ref().map(Preferences::read).unwrap_or_default();
    let mut problems = Vec::new();
    for renderer in renderers() {
        let native = native_options(renderer, &preferences);
        let start = app::Start {
            file: file.clone(),
            options: options.clone(),
            preferences: preferences.clone(),
            folders: folders.clone(),
            warnings: warning.iter().cloned().collect(),
        };
        match eframe::run_native("Maquette", native, Box::new(move |cc| Ok(Box::new(App::new(cc, start)?)))) {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(error @ eframe::Error::WinitEventLoop(_)) => {
                anyhow::bail!(
                    "there is no display ({error}); `cargo run --release -- tour --out DIR` works without one"
                )
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    anyhow::bail!(
        "no renderer works ({}); install libgl1, libegl1 and libgl1-mesa-dri, or use `maquette tour --out DIR`",
        problems.join("; ")
    )
}

/// The GPU renderer first where a real GPU is; software Vulkan costs five times as much as software OpenGL.
fn renderers() -> [eframe::Renderer; 2] {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = tokio::runtime::Builder::new_current_thread()
        .build()
        .map(|runtime| runtime.block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY)))
        .unwrap_or_default();
    let is_real = |adapter: &wgpu::Adapter| {
        matches!(adapter.get_info().device_type, wgpu::DeviceType::DiscreteGpu | wgpu::DeviceType::IntegratedGpu)
    };
    match adapters.iter().any(is_real) {
        true => [eframe::Renderer::Wgpu, eframe::Renderer::Glow],
        false => [eframe::Renderer::Glow, eframe::Renderer::Wgpu],
    }
}

fn native_options(renderer: eframe::Renderer, preferences: &Preferences) -> eframe::NativeOptions {
    let size = preferences.window_size.unwrap_or([1360.0, 880.0]);
    eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Maquette")
            .with_app_id("maquette")
            .with_inner_size(size)
            .with_min_inner_size([640.0, 480.0])
            .with_drag_and_drop(true),
        renderer,
        ..Default::default()
    }
}
