// Readme: what a plugin says of itself.

package langbot

import (
	"context"
	"net/url"

	"github.com/langbot-go/langbot/internal/envelope"
)

// The API of this file.
var getReadme = endpoint{pattern: "GET /api/v1/plugins/{author}/{name}/readme", effect: repeatable}

// Readme returns the README of a plugin in Markdown, in the language lang, such as "zh_Hans"; empty means "en". Where the
// plugin has none in that language it is the one without a language, and empty if it has none at all. Releases up to 4.10.6
// give what they gave before for 5 minutes, also of a plugin that was not there or has been replaced since.
//
// Errors: [ErrNotFound] (the plugin is not running now), [ErrInvalid] (an id that no server can be asked for),
// [ErrUnauthorized], [ErrForbidden], [ErrRuntimeAway], [ErrServer], [ErrUnreachable], [*ProtocolError].
//
// API: GET /api/v1/plugins/{author}/{name}/readme, since LangBot 4.6.0.
func (s *PluginsService) Readme(ctx context.Context, id PluginID, lang string) (string, error) {
	if err := id.check(); err != nil {
		return "", err
	}
	r := getReadme.at(id.Author, id.Name).about(id, "")
	if lang != "" {
		r = r.with(url.Values{"language": {lang}})
	}
	data, err := call[wireReadme](ctx, s.client, r, nil)
	if err != nil {
		return "", s.explained(ctx, id, err)
	}
	if data.text == "" {
		err = s.there(ctx, id)
	}
	return data.text, err
}

// wireReadme is the data of a README.
type wireReadme struct {
	text string
	told bool
}

// ReadJSON implements envelope.Reader.
func (w *wireReadme) ReadJSON(data []byte) {
	text := envelope.Field(data, "readme")
	w.text, w.told = envelope.Text(text), text != nil
}

func (w *wireReadme) missing() string {
	if !w.told {
		return "readme"
	}
	return ""
}
