package tls

import (
	"fmt"
	"go/constant"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	ourPath = "github.com/go-handoff/tls"
	stdPath = "crypto/tls"
)

// differences are what crypto/tls exports and this package does not, or not the
// same way, with the reason. An entry that no longer applies fails the test.
var differences = map[string]string{
	"QUICClient":                      quicReason,
	"QUICConfig":                      quicReason,
	"QUICConn":                        quicReason,
	"QUICEncryptionLevel":             quicReason,
	"QUICEncryptionLevelApplication":  quicReason,
	"QUICEncryptionLevelEarly":        quicReason,
	"QUICEncryptionLevelHandshake":    quicReason,
	"QUICEncryptionLevelInitial":      quicReason,
	"QUICErrorEvent":                  quicReason,
	"QUICEvent":                       quicReason,
	"QUICEventKind":                   quicReason,
	"QUICHandshakeDone":               quicReason,
	"QUICNoEvent":                     quicReason,
	"QUICRejectedEarlyData":           quicReason,
	"QUICResumeSession":               quicReason,
	"QUICServer":                      quicReason,
	"QUICSessionTicketOptions":        quicReason,
	"QUICSetReadSecret":               quicReason,
	"QUICSetWriteSecret":              quicReason,
	"QUICStoreSession":                quicReason,
	"QUICTransportParameters":         quicReason,
	"QUICTransportParametersRequired": quicReason,
	"QUICWriteData":                   quicReason,
}

const quicReason = "the QUIC API comes later: the engine's levels are QUIC's, but nothing carries transport parameters yet"

// TestParity compares all that crypto/tls exports, by name, type, field, method,
// signature and value, with what this package exports.
func TestParity(t *testing.T) {
	std, ours := loadPackages(t)
	missing := make(map[string]string)
	for _, name := range std.Scope().Names() {
		obj := std.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		for what, problem := range compareObjects(obj, ours.Scope().Lookup(name)) {
			missing[what] = problem
		}
	}
	for _, what := range slices.Sorted(maps.Keys(missing)) {
		if differences[what] == "" {
			t.Errorf("%s: %s", what, missing[what])
		}
	}
	for what := range differences {
		if missing[what] == "" {
			t.Errorf("%s is in the list of differences, but there is none", what)
		}
	}
}

// loadPackages reads the compiler's export data of both packages.
func loadPackages(t *testing.T) (std, ours *types.Package) {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", stdPath, ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(files[path])
	})
	load := func(path string) *types.Package {
		pkg, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		return pkg
	}
	return load(stdPath), load(ourPath)
}

// compareObjects returns what is wrong, by the name of what it is wrong with.
func compareObjects(std, ours types.Object) map[string]string {
	problems := make(map[string]string)
	name := std.Name()
	if ours == nil || !ours.Exported() {
		problems[name] = "missing"
		return problems
	}
	if s, ok := std.(*types.Const); ok {
		if o, ok := ours.(*types.Const); !ok || !constant.Compare(s.Val(), token.EQL, o.Val()) || typeString(s.Type()) != typeString(o.Type()) {
			problems[name] = fmt.Sprintf("is %v, want %v", ours, std)
		}
		return problems
	}
	if _, ok := std.(*types.TypeName); !ok {
		if typeString(std.Type()) != typeString(ours.Type()) {
			problems[name] = fmt.Sprintf("is %v, want %v", ours, std)
		}
		return problems
	}
	if types.Identical(std.Type(), types.Unalias(ours.Type())) {
		return problems // an alias
	}
	want, got := members(std.Type()), members(ours.Type())
	for member, typ := range want {
		if got[member] != typ {
			problems[name+"."+member] = fmt.Sprintf("is %q, want %q", got[member], typ)
		}
	}
	return problems
}

// members lists the exported fields and methods of a type with their types.
func members(t types.Type) map[string]string {
	list := make(map[string]string)
	ptr := t
	if !types.IsInterface(t) {
		ptr = types.NewPointer(t)
	}
	methods := types.NewMethodSet(ptr)
	for i := range methods.Len() {
		if m := methods.At(i).Obj(); m.Exported() {
			list[m.Name()] = typeString(m.Type())
		}
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		if _, ok := t.Underlying().(*types.Interface); !ok {
			list["underlying type"] = typeString(t.Underlying())
		}
		return list
	}
	for i := range s.NumFields() {
		if f := s.Field(i); f.Exported() {
			list[f.Name()] = typeString(f.Type())
		}
	}
	return list
}

// typeString writes a type so that types of the two packages with one name are
// equal, and parameter names do not matter.
func typeString(t types.Type) string { return types.TypeString(unnamed(t), qualify) }

func qualify(p *types.Package) string {
	if p.Path() == ourPath {
		return stdPath
	}
	return p.Path()
}

// unnamed drops the parameter names of functions, and resolves aliases.
func unnamed(t types.Type) types.Type {
	switch t := types.Unalias(t).(type) {
	case *types.Signature:
		return types.NewSignatureType(nil, nil, nil, unnamedTuple(t.Params()), unnamedTuple(t.Results()), t.Variadic())
	case *types.Pointer:
		return types.NewPointer(unnamed(t.Elem()))
	case *types.Slice:
		return types.NewSlice(unnamed(t.Elem()))
	case *types.Map:
		return types.NewMap(unnamed(t.Key()), unnamed(t.Elem()))
	default:
		return t
	}
}

func unnamedTuple(t *types.Tuple) *types.Tuple {
	vars := make([]*types.Var, t.Len())
	for i := range vars {
		vars[i] = types.NewParam(token.NoPos, nil, "", unnamed(t.At(i).Type()))
	}
	return types.NewTuple(vars...)
}
