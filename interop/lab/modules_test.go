package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const (
	testDep = `kernel/net/tls/tls.ko: kernel/crypto/aead.ko
kernel/crypto/aead.ko:
kernel/crypto/gcm.ko.xz: kernel/lib/gf128.ko kernel/crypto/aead.ko kernel/lib/base.ko
kernel/lib/gf128.ko: kernel/lib/base.ko
kernel/lib/base.ko:
kernel/arch/aesni-intel.ko:
`
	testBuiltin = `kernel/fs/hostfs/hostfs.ko
kernel/net/ipv4/tcp_diag.ko
`
)

func TestModuleOrder(t *testing.T) {
	m, err := parseModules("", testDep, testBuiltin)
	if err != nil {
		t.Fatal(err)
	}
	got := m.order([]string{"gcm", "hostfs", "unheard-of", "aesni_intel", "tls", "gcm"})
	want := []string{
		"kernel/lib/base.ko", "kernel/crypto/aead.ko", "kernel/lib/gf128.ko", "kernel/crypto/gcm.ko.xz",
		"kernel/arch/aesni-intel.ko", "kernel/net/tls/tls.ko",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for name, want := range map[string]bool{"tls": true, "aesni_intel": true, "tcp-diag": true, "hostfs": true, "veth": false} {
		if m.has(name) != want {
			t.Errorf("has(%q) is %v", name, !want)
		}
	}
	if _, err := parseModules("", "no colon\n", ""); err == nil {
		t.Error("a line that is not of modules.dep gives no error")
	}
}

func TestModuleContent(t *testing.T) {
	dir := t.TempDir()
	m := &modules{dir: dir}
	if err := os.WriteFile(filepath.Join(dir, "a.ko"), []byte("plain"), 0o644); err != nil {
		t.Fatal(err)
	}
	if content, err := m.content("a.ko"); err != nil || string(content) != "plain" {
		t.Errorf("%q, %v", content, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.ko.gz"), []byte("not packed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if content, err := m.content("b.ko.gz"); err == nil {
		t.Errorf("%q, and no error", content)
	}
}
