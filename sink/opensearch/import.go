package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DashboardsConfig says where OpenSearch Dashboards is, and who we are there.
type DashboardsConfig struct {
	// URL is what a browser opens: "https://host:5601", or "https://domain/_dashboards"
	// of Amazon OpenSearch Service.
	URL string
	// Tenant of the security plug-in that gets the objects; empty for the user's
	// default one.
	Tenant string
	// The rest is as in [Config].
	Username, Password, CAFile, SigV4, Region string
	Timeout                                   time.Duration
}

// Imported is what an import did.
type Imported struct {
	Objects  int // that were taken
	Replaced int // of them were there before
}

// ImportDashboards gives saved objects, ndjson as [SavedObjects] makes it, to
// OpenSearch Dashboards. Objects with the same ids are replaced. Its error names
// the objects that were refused; the others are there.
func ImportDashboards(ctx context.Context, cfg DashboardsConfig, ndjson []byte) (Imported, error) {
	if u, err := url.Parse(cfg.URL); err != nil || u.Host == "" {
		return Imported{}, fmt.Errorf("opensearch dashboards: %q is no address: write it like https://host:5601, or https://domain/_dashboards", redact(cfg.URL))
	}
	c, err := Connect(ctx, Config{
		Addresses: []string{cfg.URL}, Username: cfg.Username, Password: cfg.Password, CAFile: cfg.CAFile,
		SigV4: cfg.SigV4, Region: cfg.Region, Timeout: cfg.Timeout,
	})
	if err != nil {
		return Imported{}, err
	}
	defer func() { _ = c.Close() }()
	c.name = "opensearch dashboards"

	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "tripgrid.ndjson") // refused without that ending
	if err == nil {
		_, _ = part.Write(ndjson) // into memory
		err = form.Close()
	}
	if err != nil {
		return Imported{}, fmt.Errorf("opensearch dashboards: %w", err)
	}
	header := http.Header{"Content-Type": {form.FormDataContentType()}, "Osd-Xsrf": {"true"}}
	if cfg.Tenant != "" {
		header.Set("Securitytenant", cfg.Tenant)
	}
	a, err := c.do(ctx, http.MethodPost, "/api/saved_objects/_import?overwrite=true", header, body.Bytes())
	if err != nil {
		return Imported{}, err
	}
	return c.judgeImport(a)
}

// importAnswer is Dashboards' answer to an import.
type importAnswer struct {
	Success *bool `json:"success"`
	Count   int   `json:"successCount"`
	Results []struct {
		Overwrite bool `json:"overwrite"`
	} `json:"successResults"`
	Errors []importError `json:"errors"`
}

type importError struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Error struct {
		Type       string `json:"type"`
		Message    string `json:"message"`
		References []struct {
			Type string `json:"type"`
			ID   string `json:"id"`
		} `json:"references"`
	} `json:"error"`
}

func (e importError) String() string {
	why := strings.ReplaceAll(e.Error.Type, "_", " ")
	if e.Error.Message != "" {
		why = e.Error.Message
	}
	for _, r := range e.Error.References {
		why += " " + r.Type + " " + r.ID
	}
	return fmt.Sprintf("%s %s (%s)", e.Type, e.ID, why)
}

func (c *Client) judgeImport(a answer) (Imported, error) {
	const verb = "import saved objects"
	switch {
	case a.status >= 300 && a.status < 400:
		return Imported{}, fmt.Errorf("%s: %s sends us to %s instead, which is where people log in: give a user, or import the file by hand",
			verb, c.who(), a.header.Get("Location"))
	case a.status == http.StatusNotFound:
		return Imported{}, fmt.Errorf("%s: what answers at %s has no such interface (404): give the address that a browser opens, with its path (/_dashboards)",
			verb, c.where())
	case !a.ok():
		return Imported{}, c.explain(verb, a)
	}
	var got importAnswer
	if err := json.Unmarshal(a.body, &got); err != nil || got.Success == nil {
		return Imported{}, fmt.Errorf("%s: what answers at %s is not OpenSearch Dashboards: give the address that a browser opens", verb, c.where())
	}
	done := Imported{Objects: got.Count}
	for _, r := range got.Results {
		if r.Overwrite {
			done.Replaced++
		}
	}
	if *got.Success && len(got.Errors) == 0 {
		return done, nil
	}
	var refused []string
	for _, e := range got.Errors {
		refused = append(refused, e.String())
	}
	return done, fmt.Errorf("%s: %s took %d and refused %d: %s", verb, c.who(), got.Count, len(got.Errors), strings.Join(refused, ", "))
}
