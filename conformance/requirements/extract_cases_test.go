package requirements

import (
	"slices"
	"testing"
)

// TestExtract has texts of both forms, and the sentences that are in them.
func TestExtract(t *testing.T) {
	for _, tt := range []struct {
		name string
		read func(string) []block
		text string
		want []sentence
	}{
		{"Markdown", markdownBlocks, `---
title: MUST not be read
--- middle
# One

A peer MUST wait. It may go
on, but MUST NOT run (i.e., be
fast). It SHOULD rest.

## Two {#two}

~~~
struct MUST;
~~~

The following MUST hold:

- It MUST be A.
  That is all.
- It is B.
- See {{two}} and {{?RFC1}}, which are REQUIRED for 2<sup>4</sup>.

field:
: MUST be 0. "Quoted."
# Three
### Deep
This SHALL be.
--- back
# Last
A MUST
`, []sentence{
			{"1", "A peer MUST wait."},
			{"1", "It may go on, but MUST NOT run (i.e., be fast)."},
			{"1.1", "The following MUST hold:"},
			{"1.1", "It MUST be A."},
			{"1.1", "See Section 1.1 and [RFC1], which are REQUIRED for 2^4."},
			{"1.1", "MUST be 0."},
			{"2.0.1", "This SHALL be."},
			{"A", "A MUST"},
		}},
		{"pages", textBlocks, `   Contents MUST be. . . . . . . . . . . . 1

1.  One

   A peer MUST do this, which is well-
   known, and it goes

Somebody                     Standards Track                    [Page 1]
` + "\f" + `
RFC 1                          Title                      August 2008


   on over the page.  It SHALL NOT end:

   -  One item MUST be.

   -  The other
      MUST NOT.

Somebody                     Standards Track                    [Page 2]
` + "\f" + `
RFC 1                          Title                      August 2008

1.2.  Two

   Here it is REQUIRED.  Must is not.

Appendix A. Last

   A MUST.
`, []sentence{
			{"1", "A peer MUST do this, which is well-known, and it goes on over the page."},
			{"1", "It SHALL NOT end:"},
			{"1", "One item MUST be."},
			{"1", "The other MUST NOT."},
			{"1.2", "Here it is REQUIRED."},
			{"A", "A MUST."},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := demands(tt.read(tt.text)); !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
