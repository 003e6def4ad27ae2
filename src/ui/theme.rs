//! Colours, sizes and spacing as tokens, for light and dark. Panels take their looks from here and from nowhere else.

use egui::{Color32, Context, CornerRadius, FontFamily, FontId, Margin, Stroke, TextStyle, Theme, Visuals, vec2};

/// The grid that everything sits on, in points.
pub(super) const GRID: f32 = 8.0;
/// The one accent.
pub(super) const ACCENT: Color32 = Color32::from_rgb(74, 122, 232);

/// The colours of one theme.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens {
    pub(super) window: Color32,
    pub(super) panel: Color32,
    pub(super) field: Color32,
    pub(super) canvas: Color32,
    pub(super) raised: Color32,
    pub(super) hovered: Color32,
    pub(super) line: Color32,
    pub(super) text: Color32,
    pub(super) faint: Color32,
    pub(super) accent_soft: Color32,
    pub(super) warning: Color32,
    pub(super) error: Color32,
    /// Brackets and numbers of weights, and the ground of what counts more or less.
    pub(super) weight: Color32,
    pub(super) more: Color32,
    pub(super) less: Color32,
    pub(super) schedule: Color32,
    pub(super) keyword: Color32,
    pub(super) network: Color32,
    pub(super) wildcard: Color32,
    pub(super) variant: Color32,
    pub(super) variable: Color32,
}

const DARK: Tokens = Tokens {
    window: Color32::from_rgb(24, 25, 28),
    panel: Color32::from_rgb(31, 33, 37),
    field: Color32::from_rgb(22, 23, 26),
    canvas: Color32::from_rgb(18, 19, 21),
    raised: Color32::from_rgb(45, 48, 54),
    hovered: Color32::from_rgb(57, 61, 68),
    line: Color32::from_rgb(50, 53, 59),
    text: Color32::from_rgb(226, 228, 232),
    faint: Color32::from_rgb(154, 159, 168),
    accent_soft: Color32::from_rgb(42, 60, 102),
    warning: Color32::from_rgb(230, 178, 80),
    error: Color32::from_rgb(240, 110, 105),
    weight: Color32::from_rgb(196, 158, 255),
    more: Color32::from_rgb(150, 104, 235),
    less: Color32::from_rgb(70, 130, 150),
    schedule: Color32::from_rgb(94, 200, 216),
    keyword: Color32::from_rgb(255, 143, 171),
    network: Color32::from_rgb(240, 160, 104),
    wildcard: Color32::from_rgb(132, 208, 120),
    variant: Color32::from_rgb(104, 196, 168),
    variable: Color32::from_rgb(122, 170, 255),
};

const LIGHT: Tokens = Tokens {
    window: Color32::from_rgb(233, 234, 237),
    panel: Color32::from_rgb(247, 248, 250),
    field: Color32::from_rgb(255, 255, 255),
    canvas: Color32::from_rgb(222, 224, 228),
    raised: Color32::from_rgb(229, 231, 235),
    hovered: Color32::from_rgb(216, 219, 225),
    line: Color32::from_rgb(212, 215, 221),
    text: Color32::from_rgb(32, 35, 41),
    faint: Color32::from_rgb(98, 104, 115),
    accent_soft: Color32::from_rgb(212, 223, 250),
    warning: Color32::from_rgb(158, 104, 10),
    error: Color32::from_rgb(190, 50, 46),
    weight: Color32::from_rgb(112, 62, 196),
    more: Color32::from_rgb(150, 104, 235),
    less: Color32::from_rgb(70, 150, 170),
    schedule: Color32::from_rgb(0, 112, 130),
    keyword: Color32::from_rgb(188, 34, 84),
    network: Color32::from_rgb(168, 82, 12),
    wildcard: Color32::from_rgb(44, 118, 34),
    variant: Color32::from_rgb(8, 112, 86),
    variable: Color32::from_rgb(38, 88, 190),
};

/// The tokens of the theme that is shown.
pub(super) fn tokens(ui: &egui::Ui) -> &'static Tokens {
    if ui.visuals().dark_mode { &DARK } else { &LIGHT }
}

/// Sets looks and sizes for both themes; called once.
pub(super) fn install(ctx: &Context) {
    for (theme, tokens) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| {
            style.visuals = visuals(theme, tokens);
            style.spacing.item_spacing = vec2(GRID, GRID);
            style.spacing.button_padding = vec2(10.0, 4.0);
            style.spacing.interact_size = vec2(32.0, 24.0);
            style.spacing.menu_margin = Margin::same(8);
            style.spacing.slider_width = 120.0;
            style.spacing.scroll.floating = true;
            style.text_styles = [
                (TextStyle::Small, 11.5),
                (TextStyle::Body, 13.5),
                (TextStyle::Button, 13.5),
                (TextStyle::Heading, 16.0),
            ]
            .map(|(text_style, size)| (text_style, FontId::new(size, FontFamily::Proportional)))
            .into_iter()
            .chain([(TextStyle::Monospace, FontId::new(12.5, FontFamily::Monospace))])
            .collect();
        });
    }
}

/// A dialog over everything else, with the room around its contents that all dialogs have.
pub(super) fn modal(ctx: &Context, id: &'static str) -> egui::Modal {
    let frame = egui::Frame::popup(&ctx.global_style()).inner_margin(Margin::same(16));
    egui::Modal::new(egui::Id::unique(id)).frame(frame)
}

fn visuals(theme: Theme, tokens: &Tokens) -> Visuals {
    let mut visuals = theme.default_visuals();
    visuals.panel_fill = tokens.panel;
    visuals.window_fill = tokens.panel;
    visuals.extreme_bg_color = tokens.field;
    visuals.faint_bg_color = tokens.window;
    visuals.text_edit_bg_color = Some(tokens.field);
    visuals.window_stroke = Stroke::new(1.0, tokens.line);
    visuals.selection.bg_fill = tokens.accent_soft;
    visuals.selection.stroke = Stroke::new(1.0, tokens.text);
    visuals.hyperlink_color = ACCENT;
    visuals.warn_fg_color = tokens.warning;
    visuals.error_fg_color = tokens.error;
    visuals.window_corner_radius = CornerRadius::same(10);
    visuals.menu_corner_radius = CornerRadius::same(8);
    let widgets = &mut visuals.widgets;
    for (state, fill, line) in [
        (&mut widgets.noninteractive, tokens.panel, tokens.line),
        (&mut widgets.inactive, tokens.raised, tokens.raised),
        (&mut widgets.hovered, tokens.hovered, tokens.hovered),
        (&mut widgets.active, tokens.hovered, ACCENT),
        (&mut widgets.open, tokens.hovered, tokens.line),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, line);
        state.fg_stroke = Stroke::new(1.0, tokens.text);
        state.corner_radius = CornerRadius::same(6);
        state.expansion = 0.0;
    }
    visuals.widgets.noninteractive.fg_stroke = Stroke::new(1.0, tokens.text);
    visuals
}
