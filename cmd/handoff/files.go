package main

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// readOnly refuses requests that cannot be for a file.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "405 only GET and HEAD are allowed", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// dir is a directory whose files are all below it, whatever links say. They are
// real files, so that net/http can give them to the connection as a whole. Names
// that begin with a dot are not there: such files are often private.
type dir struct{ root *os.Root }

func openDir(name string) (dir, error) {
	root, err := os.OpenRoot(name)
	return dir{root}, err
}

// Open implements http.FileSystem.
func (d dir) Open(name string) (http.File, error) {
	local, err := filepath.Localize(path.Join(".", path.Clean("/" + name)[1:]))
	if err != nil || slices.ContainsFunc(strings.Split(path.Clean(name), "/"), hidden) {
		return nil, fs.ErrNotExist
	}
	info, err := d.root.Stat(local)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil || !info.Mode().IsRegular() && !info.IsDir():
		return nil, fs.ErrNotExist // links out of the directory, devices and pipes too
	}
	f, err := d.root.Open(local)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return listing{f}, nil
	}
	return f, nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// listing is a directory without what is hidden in it. It has none of os.File's
// other ways to list.
type listing struct{ http.File }

// Readdir implements http.File.
func (l listing) Readdir(n int) ([]fs.FileInfo, error) {
	infos, err := l.File.Readdir(n)
	return slices.DeleteFunc(infos, func(info fs.FileInfo) bool { return hidden(info.Name()) }), err
}
